// Writes test/golden.json from the TypeScript kernels: to be run when an op is added. Other bits for an op that is there
// already are a major version (NUMERICS.md, rule 12).
import { writeFileSync } from 'node:fs'
import { tables } from '../dist/esm/backend.js'
import { cases, goldenOf } from '../dist/esm/cases/index.js'
import '../dist/esm/index.js'

const lines = Object.keys(cases).map(op => `  "${op}": ${JSON.stringify(goldenOf(op, tables.at(-1).float32))}`)
writeFileSync(new URL('../test/golden.json', import.meta.url), `{\n${lines.join(',\n')}\n}\n`)
