// Writes test/golden.json from the TypeScript kernels: to be run when an op is added. Other bits for an op that is there
// already are a major version (NUMERICS.md, rule 12).
import { writeFileSync } from 'node:fs'
import { goldens } from '../dist/esm/cases/index.js'
import { kernels } from '../dist/esm/kernels/index.js'

const lines = Object.entries(goldens(kernels)).map(([name, golden]) => `  "${name}": ${JSON.stringify(golden)}`)
writeFileSync(new URL('../test/golden.json', import.meta.url), `{\n${lines.join(',\n')}\n}\n`)
