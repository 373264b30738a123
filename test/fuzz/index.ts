// npm run fuzz: random calls of every kernel on every backend of this machine, against the TypeScript backend and the models of
// test/support, bit by bit. Usage: npm run fuzz -- [--seconds 60 | --cases 1000] [--seed 1] [--op layer_norm] [--call JSON]
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { tables } from '../../dist/esm/backend/choice.js'
import { firstDifference } from '../../dist/esm/cases/data.js'
import { storedCase } from '../../dist/esm/cases/elements.js'
import { runCase } from '../../dist/esm/cases/index.js'
import { setNumThreads } from '../../dist/esm/index.js'
import { type Op, ops } from '../../dist/esm/kernels/index.js'
import { roundedResult } from '../support/elements.ts'
import { type CallText, calls, caseOf, isStretched } from './calls.ts'
import { modelOf, type Results } from './models.ts'

const typescript = tables[tables.length - 1]
const made = new Map<Op, number>()

/** Throws where two results differ, of those that both have. */
function compare(names: string, actual: Results, expected: Results): void {
  for (const [name, array] of Object.entries(actual)) {
    const right = expected[name]
    if (!array || !right) continue
    const at = firstDifference(array, right)
    if (at >= 0) throw new Error(`${names}: ${name}[${at}] is ${array[at]} and ${right[at]}`)
  }
}

/** Makes one call everywhere. */
function check(text: CallText): void {
  const { op, threads, type = 'float32', seed } = text
  const plain = caseOf(text)
  const given = type === 'float32' ? plain : storedCase(op, plain, type, seed)
  const expected = runCase(op, typescript.float32, given) as Results
  setNumThreads(threads)
  made.set(op, (made.get(op) ?? 0) + 1)
  for (const { name, float32 } of tables.slice(0, -1)) {
    compare(`${op}, ${name} and js`, runCase(op, float32, given) as Results, expected)
  }
  if (isStretched(text)) return
  const model = type === 'float32' ? modelOf(op, given) : (roundedResult(op, typescript.float32, given) as Results)
  if (model) compare(`${op}, js and the model`, expected, model)
}

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    cases: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    op: { type: 'string' },
    call: { type: 'string' }
  }
})
const op = ops.find(name => name === values.op)
if (values.op !== undefined && !op) fail(`--op expected one of ${ops.join(', ')}, got ${values.op}`)
const count = (name: 'seconds' | 'cases' | 'seed', absent: number) => {
  const value = Number(values[name] ?? absent)
  return value >= 0 ? value : fail(`--${name} expected a number >= 0, got ${values[name]}`)
}

if (values.call !== undefined) {
  try {
    check(JSON.parse(values.call))
    console.log('this call gives the same bits everywhere')
  } catch (error) {
    fail((error as Error).message)
  }
} else {
  const seed = count('seed', 0)
  const cases = count('cases', Number.POSITIVE_INFINITY)
  const seconds = count('seconds', Number.isFinite(cases) ? 1e6 : 60)
  console.log(`seed ${seed}, backends ${tables.map(({ name }) => name).join(', ')}`)
  const details = fc.check(fc.property(calls(op && [op]), check), {
    seed,
    numRuns: Math.min(cases, 2 ** 31 - 1),
    interruptAfterTimeLimit: seconds * 1000
  })
  if (details.failed) {
    const text = details.counterexample?.[0] as CallText
    fail(
      [
        String((details.errorInstance as Error | null)?.message ?? 'failed'),
        `call ${details.numRuns} of seed ${seed}, made smaller ${details.numShrinks} times; it again:`,
        `npm run fuzz -- --call '${JSON.stringify(text)}'`
      ].join('\n')
    )
  }
  const all = [...made.values()].reduce((sum, n) => sum + n, 0)
  console.log(`${all} calls gave the same bits: ${ops.map(op => `${op} ${made.get(op) ?? 0}`).join(', ')}`)
}
