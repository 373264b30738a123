// What is to be reached, and what was.
import { ORT, PLAIN, TRANSFORMERS } from '../dist/esm/cli/bench/rows.js'
import { isCopy } from './copies.ts'
import { type Op, titles } from './problem.ts'
import { type Comparison, find, quickest, type Results, timeOf } from './results.ts'
import { COLS } from './shapes.ts'

/** One line of the table, one figure for each of the backends. */
export interface Target {
  readonly case: string
  /** What to reach, for each backend. */
  readonly goals: readonly string[]
  /** What was seen; undefined where it was not measured. */
  readonly figures: readonly (string | undefined)[]
  readonly met: readonly (boolean | undefined)[]
}

const prepared = (backend: string) => `prepared layer (${backend})`
export const isOrt = ({ name }: { name: string }) => name.startsWith(ORT)
export const isTorch = ({ name }: { name: string }) => name.startsWith('PyTorch')
/** Other implementations. */
export const isPeer = ({ name }: { name: string }) =>
  name === PLAIN || isOrt({ name }) || isTorch({ name }) || /^(tfjs|transformers)/.test(name)
/** The prepared layer of a backend, or where an op has no class its function. */
export function oursOf(comparison: Comparison, backend: string): number {
  const layer = timeOf(comparison, prepared(backend))
  return Number.isNaN(layer) ? timeOf(comparison, `function (${backend})`) : layer
}
/** The quickest copy, in the process of a backend where it has copies. */
export function bestCopy(comparison: Comparison | undefined, backend: string): number {
  const own = quickest(comparison, ({ name, contender }) => isCopy(name) && contender === backend)
  return Number.isNaN(own) ? quickest(comparison, ({ name }) => isCopy(name)) : own
}

const times = (value: number) => `${value.toFixed(value < 10 ? 2 : 1)}x`

/** The backends that have a column: the native ones but the portable, two at most; else what there is. */
export function columnsOf({ machine: { backends } }: Results): readonly string[] {
  const vector = backends.filter(name => name !== 'portable' && name !== 'js').slice(0, 2)
  return vector.length > 0 ? vector : backends.slice(0, 1)
}

export function targetsOf(results: Results): Target[] {
  const columns = columnsOf(results)
  const targets: Target[] = []

  /** A figure for each backend; `goals` one for all, or one for AVX-512 and one for the others. */
  function add(
    what: string,
    sign: '>=' | '<=',
    goals: number | readonly [number, number],
    figure: (backend: string) => number,
    unit = 'x'
  ) {
    const goalOf = (backend: string) => (typeof goals === 'number' ? goals : goals[backend === 'avx512' ? 0 : 1])
    const found = columns.map(figure)
    const known = found.map(value => Number.isFinite(value))
    targets.push({
      case: what,
      goals: columns.map(backend => `${sign === '>=' ? 'at least' : 'at most'} ${goalOf(backend)}${unit}`),
      figures: found.map((value, i) =>
        known[i] ? (unit === 'x' ? times(value) : `${value.toFixed(0)}${unit}`) : undefined
      ),
      met: found.map((value, i) => {
        const goal = goalOf(columns[i])
        return known[i] ? (sign === '>=' ? value >= goal : value <= goal) : undefined
      })
    })
  }
  const rowsOf = (op: Op, rows: number, cols = COLS) => find(results, 'family', op, rows, cols)
  const nameOf = { layerNorm: 'LayerNorm', rmsNorm: 'RMSNorm' } as const
  const both = ['layerNorm', 'rmsNorm'] as const

  for (const [op, goal] of [
    ['layerNorm', 12],
    ['rmsNorm', 10]
  ] as const) {
    const one = rowsOf(op, 1)
    add(
      `1 row, ${nameOf[op]}, prepared, \`out\` given: the plain loop takes`,
      '>=',
      goal,
      backend => timeOf(one, PLAIN) / timeOf(one, prepared(backend))
    )
  }
  for (const op of both) {
    const one = rowsOf(op, 1)
    add(
      `1 row, ${nameOf[op]}: onnxruntime-node takes`,
      '>=',
      50,
      backend => quickest(one, isOrt) / timeOf(one, prepared(backend))
    )
  }
  for (const rows of [32, 256]) {
    const some = rowsOf('layerNorm', rows)
    const against = (time: number) => (backend: string) => time / timeOf(some, prepared(backend))
    add(`${rows} rows, LayerNorm: the plain loop takes`, '>=', 18, against(timeOf(some, PLAIN)))
    add(`${rows} rows, LayerNorm: transformers.js takes`, '>=', 150, against(timeOf(some, TRANSFORMERS)))
    add(`${rows} rows, LayerNorm: the better onnxruntime-node takes`, '>=', 3, against(quickest(some, isOrt)))
  }
  for (const rows of [8192, 32768]) {
    const some = rowsOf('layerNorm', rows)
    add(
      `${thousands(rows)} rows, LayerNorm: onnxruntime-node takes`,
      '>=',
      4,
      backend => timeOf(some, ORT) / timeOf(some, prepared(backend))
    )
  }
  for (const op of both) {
    const all = results.comparisons.filter(one => one.group === 'family' && one.op === op && one.dims[1] === COLS)
    add(`${nameOf[op]}, 1 to 32,768 rows: PyTorch takes, at least`, '>=', 2, backend =>
      Math.min(...all.map(one => quickest(one, isTorch) / timeOf(one, prepared(backend))).filter(Number.isFinite))
    )
  }
  for (const rows of [32, 256]) {
    for (const [op, goals] of [
      ['layerNorm', [2.1, 2.5]],
      ['rmsNorm', [1.7, 2]]
    ] as const) {
      const some = rowsOf(op, rows)
      add(
        `${rows} rows, ${nameOf[op]} against the best copy`,
        '<=',
        goals,
        backend => timeOf(some, prepared(backend)) / bestCopy(some, backend)
      )
    }
  }
  for (const [rows, goal] of [
    [1024, 1.25],
    [32768, 1.3]
  ] as const) {
    for (const op of both) {
      const some = rowsOf(op, rows)
      const where = rows === 1024 ? '' : ` (${placeOf(results, some)})`
      add(
        `${thousands(rows)} rows${where}, ${nameOf[op]} against the best copy`,
        '<=',
        goal,
        backend => timeOf(some, prepared(backend)) / bestCopy(some, backend)
      )
    }
  }
  const best = results.machine.backend
  for (const rows of [1024, 8192, 32768]) {
    const some = find(results, 'threads', 'layerNorm', rows, COLS)
    add(`${thousands(rows)} rows, LayerNorm: one thread takes, of two`, '>=', 1.85, backend =>
      backend === best
        ? timeOf(some, threaded(prepared(backend), 1)) / timeOf(some, threaded(prepared(backend), 2))
        : Number.NaN
    )
  }
  for (const [cols, goal] of [
    [64, 8],
    [128, 12]
  ] as const) {
    const some = rowsOf('layerNorm', 4096, cols)
    add(
      `d = ${cols}, 4,096 rows, LayerNorm: the plain loop takes`,
      '>=',
      goal,
      backend => timeOf(some, PLAIN) / timeOf(some, prepared(backend))
    )
  }
  const loop = results.eventLoop
  for (const [kind, name] of [
    ['transfer', '`transfer`'],
    ['shared', 'shared memory']
  ] as const) {
    add(
      `event loop, ${loop?.jobs ?? 64} jobs of 8,192 x 768 (${name}): longest pause against one synchronous call`,
      '<=',
      0.1,
      backend => (loop && backend === best ? loop[kind].longest / loop.callOnOne : Number.NaN)
    )
  }
  addBeyond(results, add)
  return targets
}

type Add = (
  what: string,
  sign: '>=' | '<=',
  goals: number | readonly [number, number],
  figure: (backend: string) => number,
  unit?: string
) => void

/** What stands in the text beside the table: small calls, the fallback, the best peer. */
function addBeyond(results: Results, add: Add): void {
  const least = (values: readonly number[]) => Math.min(...values.filter(Number.isFinite))
  const calls = results.comparisons.filter(({ group }) => group === 'call')
  const { backend: best } = results.machine
  add('1 row of 128 elements and more, prepared: the plain loop takes, at least', '>=', 1, backend =>
    least(calls.filter(one => one.dims[1] >= 128).map(one => timeOf(one, PLAIN) / timeOf(one, prepared(backend))))
  )
  add('1 row of 256 elements and more, function: the plain loop takes, at least', '>=', 1, backend =>
    least(calls.filter(one => one.dims[1] >= 256).map(one => timeOf(one, PLAIN) / timeOf(one, `function (${backend})`)))
  )
  const most = (values: readonly number[]) => Math.max(...values.filter(Number.isFinite))
  const over = (name: string, cols: number) =>
    most(calls.filter(one => one.dims[1] < cols).map(one => timeOf(one, name) - timeOf(one, PLAIN)))
  add(
    '1 row of less, prepared: over the plain loop, at most',
    '<=',
    150,
    backend => over(prepared(backend), 128),
    ' ns'
  )
  add(
    '1 row of less, function: over the plain loop, at most',
    '<=',
    150,
    backend => over(`function (${backend})`, 256),
    ' ns'
  )
  const families = results.comparisons.filter(({ group }) => group === 'family')
  const onlyBest = (figure: number) => (backend: string) => (backend === best ? figure : Number.NaN)
  const ofTypeScript = (one: Comparison) => {
    const layer = timeOf(one, prepared('js'))
    return Number.isNaN(layer) ? timeOf(one, 'kernel (js)') : layer
  }
  for (const op of Object.keys(titles) as Op[]) {
    const own = families.filter(one => one.op === op && one.dims[0] > 1)
    if (own.length === 0) continue
    add(
      `${titles[op]}, TypeScript: the plain loop takes, at least`,
      '>=',
      0.8,
      onlyBest(least(own.map(one => timeOf(one, PLAIN) / ofTypeScript(one))))
    )
  }
  const ours = (one: Comparison) => oursOf(one, best)
  for (const op of Object.keys(titles) as Op[]) {
    const own = families.filter(one => one.op === op)
    if (own.length === 0) continue
    add(
      `${titles[op]}, all shapes: the best peer takes, at least`,
      '>=',
      2,
      onlyBest(least(own.map(one => quickest(one, isPeer) / ours(one))))
    )
  }
  const large = families.filter(({ op, dims }) => op === 'batchNorm' && dims.length === 4)
  add(
    'batchNorm, inference, from memory, against the best copy, at most',
    '<=',
    1.5,
    onlyBest(large.length > 0 ? most(large.map(one => ours(one) / bestCopy(one, best))) : Number.NaN)
  )
  const transformed = families.filter(one => one.results.some(({ name }) => name === TRANSFORMERS))
  add(
    'layerNorm, TypeScript: transformers.js takes, at least',
    '>=',
    6,
    onlyBest(least(transformed.map(one => timeOf(one, TRANSFORMERS) / ofTypeScript(one))))
  )
}

export const threaded = (name: string, threads: number) => `${name}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`
export const thousands = (value: number) => Math.round(value).toLocaleString('en')

/** Where the operands of a comparison lie, as far as that is known. */
export function placeOf({ machine: { cache } }: Results, comparison: Comparison | undefined): string {
  if (!comparison || !cache) return 'from memory'
  const share = (8 * comparison.dims.reduce((product, dim) => product * dim, 1)) / cache
  return `${share.toFixed(share < 10 ? 1 : 0)} times the last-level cache`
}
