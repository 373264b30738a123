// Writes test/golden.json from the TypeScript kernels: to be run when an op is added. Other bits for an op that is there
// already are a major version (NUMERICS.md, rule 12).
import { writeFileSync } from 'node:fs'
import { goldenOf } from '../dist/esm/cases/index.js'
import { kernels, ops } from '../dist/esm/kernels/index.js'

const lines = ops.map(op => `  "${op}": ${JSON.stringify(goldenOf(op, kernels))}`)
writeFileSync(new URL('../test/golden.json', import.meta.url), `{\n${lines.join(',\n')}\n}\n`)
