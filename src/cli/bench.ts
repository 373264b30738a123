// evenkeel bench: this library beside a plain loop, a copy and what else is installed; checks the results, then times.
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { backends } from '../backend/choice.js'
import type { Dtype } from '../call/elements.js'
import { fill, finiteRows, ordinaryWeights } from '../cases/data.js'
import { types16 } from '../kernels/elements.js'
import { VERSION } from '../version.js'
import { type Candidate, Contender, textOf } from './bench/contender.js'
import { measure } from './bench/measure.js'
import { MEMCPY, PLAIN, type RowProblem, rounded16 } from './bench/rows.js'
import { type Command, parsed, UsageError } from './usage.js'

const ops = { 'layer-norm': 'layerNorm', 'rms-norm': 'rmsNorm' } as const
const COLUMNS = 768
const ROWS = [1, 256, 8192]
const peers = { onnxruntime: 'onnxruntime-node', transformers: '@huggingface/transformers' } as const
/** What NUMERICS.md guarantees, in units in the last place of the largest element of a row. */
const BOUND = { layerNorm: 3.05, rmsNorm: 1.55 } as const

type Kind = 'N(0,1)' | 'N(1e4,1)' | 'N(0,1e20)'

interface Entry {
  readonly name: string
  /** Largest error, in units in the last place of the row's largest element; null where it is NaN or Inf. */
  readonly ulp: number | null
  readonly nanosecondsPerRow?: number
}
interface Comparison {
  readonly op: string
  readonly dims: readonly number[]
  readonly numbers: Kind
  readonly results: readonly Entry[]
}

function problem(op: string, rows: number, kind: Kind, threads: number): RowProblem {
  const size = rows * COLUMNS
  const some = fill(finiteRows[kind], Math.min(size, 2 ** 18), 1)
  const x = new Float32Array(size)
  for (let i = 0; i < size; i += some.length) x.set(some.subarray(0, size - i), i)
  const weight = fill(ordinaryWeights, COLUMNS, 2)
  const bias = fill(finiteRows['N(0,1)'], COLUMNS, 3)
  return { op, dims: [rows, COLUMNS], x, weight, bias, eps: op === 'layerNorm' ? 1e-5 : 1e-6, threads }
}

/** Of a candidate on elements of 16 bits their type. */
const typeOf = (name: string): Dtype | undefined => types16.find(type => name.includes(`, ${type} `))
const bits = { float32: 24, float16: 11, bfloat16: 8 }
/** Rounded to 16 bits a result is half a unit off, and a little for what float32 was. */
const boundOf = (op: keyof typeof BOUND, type: Dtype | undefined) => (type ? 0.5 + BOUND[op] / 2 ** 10 : BOUND[op])

/** The largest error of some rows against float64, whose own is a millionth of it. */
function errorOf(given: RowProblem, y: Float32Array, affine: boolean, type: Dtype | undefined): number {
  const { op, dims, x, eps } = given
  const [rows, cols] = dims
  const rounded = (numbers: Float32Array) => (type ? rounded16(numbers, type) : numbers)
  const [weight, bias] = [rounded(given.weight), rounded(given.bias)]
  let worst = 0
  for (const row of new Set([0, rows >> 1, rows - 1])) {
    const values = Float64Array.from(rounded(x.subarray(row * cols, (row + 1) * cols)))
    const mean = op === 'layerNorm' ? values.reduce((sum, value) => sum + value, 0) / cols : 0
    const power = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cols
    const exact = values.map(value => (value - mean) / Math.sqrt(power + eps))
    const largest = exact.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    for (let i = 0; i < cols; i++) {
      const [w, b] = affine ? [weight[i], op === 'layerNorm' ? bias[i] : 0] : [1, 0]
      const error = Math.abs(y[row * cols + i] - (exact[i] * w + b)) / (largest * Math.abs(w) + Math.abs(b))
      if (!(error <= worst)) worst = error
    }
  }
  return worst * 2 ** (bits[type ?? 'float32'] - 1)
}

/** A candidate of a problem that a contender has under its key. */
interface Entrant extends Candidate {
  readonly contender: Contender
  readonly key: string
}

/** The keys of the same problem on one thread and on all. */
const [ONE, ALL] = ['one thread', 'all threads']
const labelOf = ({ name, key }: Entrant) => (key === ONE ? name : `${name}, ${key}`)

class Bench {
  readonly #folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-bench-'))
  readonly #ours: Contender[] = []
  readonly #others: Contender[] = []
  /** Who is not here, and why. */
  readonly absent: { name: string; why: string }[] = []

  async start(): Promise<void> {
    const path = fileURLToPath(new URL('bench/process.js', import.meta.url))
    const start = (which: string, name: string, env = {}) => Contender.start(name, process.execPath, [path, which], env)
    for (const name of backends) this.#ours.push(await start('evenkeel', name, { EVENKEEL_BACKEND: name }))
    this.#others.push(await start('plain', PLAIN))
    for (const [which, name] of Object.entries(peers)) {
      try {
        this.#others.push(await start(which, name))
      } catch (error) {
        const why = /Cannot find module/.test(String(error)) ? 'not installed here' : (error as Error).message
        this.absent.push({ name, why })
      }
    }
  }

  end(): void {
    for (const contender of [...this.#ours, ...this.#others]) contender.end()
    rmSync(this.#folder, { recursive: true })
  }

  get versions(): { [name: string]: string } {
    return Object.fromEntries(this.#others.slice(1).map(({ name, about }) => [name, about]))
  }

  /** Verifies all, then times them for so many milliseconds each; not where that is 0. */
  async compare(op: keyof typeof BOUND, rows: number, numbers: Kind, budget: number): Promise<Comparison> {
    const given = problem(op, rows, numbers, 1)
    const text = textOf(given, this.#folder)
    const entrants: Entrant[] = []
    // Of 16 bits all are checked, and the best one timed.
    const once = (name: string) => name === MEMCPY || (budget > 0 && typeOf(name) !== undefined)
    const enter = async (contender: Contender, key: string, problem: string, wanted: (name: string) => boolean) => {
      for (const one of await contender.make(key, problem)) {
        if (wanted(one.name)) entrants.push({ ...one, contender, key })
      }
    }
    const [first] = this.#ours
    for (const contender of [...this.#ours, ...this.#others]) {
      await enter(contender, ONE, text, name => !once(name) || contender === first)
    }
    const several = budget > 0 && rows > 1 && os.availableParallelism() > 1
    if (several) {
      const problem = JSON.stringify({ ...JSON.parse(text), threads: 0 })
      await enter(first, ALL, problem, name => name.startsWith('prepared') && !typeOf(name))
    }

    const errors: number[] = []
    const digests = new Map<string | undefined, string>()
    for (const entrant of entrants) {
      const { contender, key, name, affine } = entrant
      if (name === MEMCPY) {
        errors.push(0)
        continue
      }
      const type = typeOf(name)
      const error = errorOf(given, await contender.result(key, name, this.#folder), affine, type)
      errors.push(error)
      if (!this.#ours.includes(contender)) continue
      if (!(error <= boundOf(op, type)))
        throw new Error(`${op}, ${numbers}: ${labelOf(entrant)} is ${error.toFixed(1)} ULP off`)
      if (once(name)) continue
      const digest = await contender.digest(key, name)
      if (!digests.has(type)) digests.set(type, digest)
      if (digest !== digests.get(type)) throw new Error(`${op}, ${numbers}: ${labelOf(entrant)} has other bits`)
    }
    const times = budget
      ? await measure(
          entrants.map(({ contender, key, name }) => ({
            settle: key === ALL ? Math.min(100, budget / 4) : 0,
            warm: milliseconds => contender.warm(key, name, milliseconds),
            time: calls => contender.time(key, name, calls)
          })),
          budget,
          { rounds: 21 }
        )
      : []
    for (const contender of [...this.#ours, ...this.#others]) await contender.drop(ONE)
    if (several) await first.drop(ALL)
    const results = entrants.map((entrant, i) => ({
      name: labelOf(entrant),
      ulp: Number.isFinite(errors[i]) ? errors[i] : null,
      ...(budget > 0 && { nanosecondsPerRow: times[i] / rows })
    }))
    return { op, dims: given.dims, numbers, results }
  }
}

const table = (head: string[], rows: string[][]) => {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map(cells => cells[i].length)))
  const line = (cells: string[]) =>
    cells.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ')
  return [head, ...rows].map(line).join('\n')
}

const ulps = (value: number | null) =>
  value === null ? 'NaN or Inf' : value < 1000 ? value.toFixed(2) : value.toExponential(1)

function printTimes({ op, dims, results }: Comparison): void {
  const plain = results.find(({ name }) => name === PLAIN)?.nanosecondsPerRow ?? Number.NaN
  const rows = results.map(({ name, ulp, nanosecondsPerRow: time = Number.NaN }) => [
    name,
    time.toFixed(0),
    (((typeOf(name) ? 4 : 8) * dims[1]) / time).toFixed(1),
    `${(plain / time).toFixed(2)}x`,
    name === MEMCPY ? '' : ulps(ulp)
  ])
  const head = [`${op} ${dims.join(' x ')}`, 'ns per row', 'GB/s', 'plain loop takes', 'error, ULP']
  console.log(`${table(head, rows)}\n`)
}

function printErrors(comparisons: readonly Comparison[]): void {
  const names = comparisons[0].results
    .map(({ name }) => name)
    .filter(name => name !== MEMCPY && !name.includes('output'))
  const cell = ({ results }: Comparison, name: string) => {
    const entry = results.find(entry => entry.name === name)
    return entry ? ulps(entry.ulp) : 'beyond its range'
  }
  const head = [`${comparisons[0].op}, error in ULP`, ...comparisons.map(({ numbers }) => numbers)]
  console.log(
    `${table(
      head,
      names.map(name => [name, ...comparisons.map(one => cell(one, name))])
    )}\n`
  )
}

export const bench: Command = {
  help: `Usage: evenkeel bench [options]

Checks, then times LayerNorm and RMSNorm of rows of ${COLUMNS} (${ROWS.join(', ')} rows) on one thread: every backend of
this machine, the best one on float16 and bfloat16, too, a plain loop, a copy of the same bytes, and onnxruntime-node and @huggingface/transformers where the
current folder has them; the best backend on all threads, too. All in one run, in turn, each in a process of its own;
medians. Errors are in ULP of the result's type. Exit code 1 where a result of evenkeel is wrong.

Options:
      --only <op>    ${Object.keys(ops).join(' or ')}; default: both
      --seconds <n>  about how long to measure, without starting and checking; default 20
      --json         print JSON; default: a table
  -h, --help         this text
`,
  async run(args) {
    const options = {
      only: { type: 'string' },
      seconds: { type: 'string' },
      json: { type: 'boolean', default: false }
    } as const
    const { values } = parsed(() => parseArgs({ args: [...args], options }), Object.keys(options))
    const { only, json } = values
    const seconds = Number(values.seconds ?? 20)
    if (only !== undefined && !Object.hasOwn(ops, only)) {
      throw new UsageError(`--only expected ${Object.keys(ops).join(' or ')}, got ${JSON.stringify(only)}`)
    }
    if (!(seconds > 0 && seconds <= 3600) || values.seconds === '') {
      throw new UsageError(`--seconds expected a number above 0, 3600 at most, got ${JSON.stringify(values.seconds)}`)
    }
    const wanted = Object.entries(ops).flatMap(([name, op]) => (only === undefined || only === name ? [op] : []))
    const say = (text: string) => json || console.log(text)
    const accuracy: Comparison[] = []
    const comparisons: Comparison[] = []
    const all = new Bench()
    try {
      await all.start()
      const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
      say(`evenkeel ${VERSION}, ${cpu}, Node.js ${process.versions.node}, one thread`)
      for (const [name, version] of Object.entries(all.versions)) say(`${name} ${version}`)
      for (const { name, why } of all.absent) say(`without ${name}: ${why}`)
      say('')
      // Two candidates for each backend, two of 16 bits, and some five others.
      const budget = (seconds * 1000) / (wanted.length * ROWS.length * (2 * backends.length + 7)) / 1.7
      for (const op of wanted) {
        const errors = []
        for (const kind of ['N(0,1)', 'N(1e4,1)', 'N(0,1e20)'] as const) errors.push(await all.compare(op, 4, kind, 0))
        accuracy.push(...errors)
        if (!json) printErrors(errors)
        for (const rows of ROWS) {
          const comparison = await all.compare(op, rows, 'N(0,1)', budget)
          comparisons.push(comparison)
          if (!json) printTimes(comparison)
        }
      }
      if (json) {
        const { versions, absent } = all
        const node = process.versions.node
        console.log(
          JSON.stringify({ evenkeel: VERSION, cpu, node, backends, versions, absent, accuracy, comparisons }, null, 2)
        )
      }
    } finally {
      all.end()
    }
    return 0
  }
}
