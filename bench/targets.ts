// What is to be reached, and what was: a figure for each instruction set.
import { ORT, PLAIN, TRANSFORMERS } from '../dist/esm/cli/bench/rows.js'
import { isCopy } from './copies.ts'
import { COPY, onBackend, TRANSFORMERS as POOLING } from './embeddings_problem.ts'
import { BOTH, type GradientOp, labelOf } from './gradients_problem.ts'
import { ranOf } from './machine.ts'
import { isOneDnn, oneDnn } from './onednn.ts'
import { type Op, titles } from './problem.ts'
import { type Comparison, find, type Gradients, quickest, type Results, timeOf } from './results.ts'
import { COLS } from './shapes.ts'
import { least, median, most, Table, type Target } from './target_table.ts'

const prepared = (backend: string) => `prepared layer (${backend})`
export const isOrt = ({ name }: { name: string }) => name.startsWith(ORT)
export const isTorch = ({ name }: { name: string }) => name.startsWith('PyTorch')
/** Other implementations; oneDNN, a library of kernels that is called without an array or a check, has targets of its own. */
export const isPeer = ({ name }: { name: string }) =>
  name === PLAIN || isOrt({ name }) || isTorch({ name }) || /^(tfjs|transformers)/.test(name)
export const isPeerOrOneDnn = (one: { name: string }) => isPeer(one) || isOneDnn(one)
/** The prepared layer of a backend, or where an op has no class its function. */
export function oursOf(comparison: Comparison | undefined, backend: string): number {
  const layer = timeOf(comparison, prepared(backend))
  return Number.isNaN(layer) ? timeOf(comparison, `function (${backend})`) : layer
}
/** The quickest copy, in the process of a backend where it has copies. */
export function bestCopy(comparison: Comparison | undefined, backend: string): number {
  const own = quickest(comparison, ({ name, contender }) => isCopy(name) && contender === backend)
  return Number.isNaN(own) ? quickest(comparison, ({ name }) => isCopy(name)) : own
}

/** The backends that have a column. */
export const columnsOf = ({ machine: { backends, backend } }: Results): readonly string[] =>
  ranOf(backends, backend).compared

/** Whether x, dy and dx do not fit into the last-level cache: 32 MiB where the system does not tell. */
export function isFromMemory({ machine: { cache = 32 << 20 } }: Results, { dims }: Gradients): boolean {
  return dims.reduce((product, dim) => product * dim, 12) > cache
}

export function targetsOf(results: Results): Target[] {
  const table = new Table(columnsOf(results))
  addPeers(table, results)
  addRows(table, results)
  addChannels(table, results)
  addCalls(table, results)
  addOneDnn(table, results)
  addGradients(table, results)
  addEmbeddings(table, results)
  addOthers(table, results)
  return table.targets
}

const families = ({ comparisons }: Results) => comparisons.filter(({ group }) => group === 'family')
const opsOf = (all: readonly { readonly op: Op }[]) =>
  (Object.keys(titles) as Op[]).filter(op => all.some(one => one.op === op))
const peerRatio = (one: Comparison, backend: string) => quickest(one, isPeer) / oursOf(one, backend)
const copies = (one: Comparison | undefined, backend: string) => oursOf(one, backend) / bestCopy(one, backend)

function addPeers(table: Table, results: Results): void {
  const all = families(results)
  for (const op of opsOf(all)) {
    const own = all.filter(one => one.op === op)
    table.atLeastOrCopies(`${titles[op]}, every shape: the best peer takes`, 1.5, 1.1, backend =>
      own.map(one => [peerRatio(one, backend), copies(one, backend)])
    )
  }
  table.atLeast('all operations and shapes: the best peer takes, in the median', 2, backend =>
    median(all.map(one => peerRatio(one, backend)))
  )
}

const nameOf = { layerNorm: 'LayerNorm', rmsNorm: 'RMSNorm' } as const

function addRows(table: Table, results: Results): void {
  for (const [rows, layer, rms] of [
    [32, 2.1, 1.6],
    [256, 1.25, 1.1],
    [1024, 1.15, 1],
    [32768, 1.1, 1.1]
  ]) {
    for (const op of ['layerNorm', 'rmsNorm'] as const) {
      const one = find(results, 'family', op, rows, COLS)
      const where = rows === 32768 ? ` (${placeOf(results, one)})` : ''
      const goal = op === 'layerNorm' ? layer : rms
      table.atMost(`${thousands(rows)} rows${where}, ${nameOf[op]}: copies`, goal, backend => copies(one, backend))
    }
  }
  for (const [cols, goal] of [
    [64, 20],
    [128, 25]
  ]) {
    const one = find(results, 'family', 'layerNorm', 4096, cols)
    table.atLeast(
      `d = ${cols}, 4,096 rows, LayerNorm: the plain loop takes`,
      goal,
      backend => timeOf(one, PLAIN) / oursOf(one, backend)
    )
  }
  const variant = results.comparisons.find(({ group, dims }) => group === 'variants' && dims[0] === 8192)
  table.atLeast(
    '8,192 rows: RMSNorm saves of LayerNorm',
    0,
    backend => {
      const time = (op: Op) => timeOf(variant, `${prepared(backend)} ${op}`)
      return 1 - time('rmsNorm') / time('layerNorm')
    },
    '%'
  )
}

const batchNorms = [
  { dims: [1024, 768], copies: 1 },
  { dims: [32, 56, 56, 64], copies: 1.1 },
  { dims: [32, 64, 56, 56], copies: 1 }
] as const

function addChannels(table: Table, results: Results): void {
  for (const { dims, copies: goal } of batchNorms) {
    const one = find(results, 'family', 'batchNorm', ...dims)
    table.atMost(`batchNorm, inference, [${dims.join(', ')}]: copies`, goal, backend => copies(one, backend))
  }
  const training = find(results, 'family', 'batchNormTraining', 1024, 768)
  table.atLeast(
    'batchNorm, training, [1024, 768]: PyTorch takes',
    1.7,
    backend => quickest(training, isTorch) / oursOf(training, backend)
  )
}

function addCalls(table: Table, { calls, eventLoop, machine: { backend: best } }: Results): void {
  const over = (backend: string, what: 'layer' | 'function', from: number, to: number) =>
    most(
      (calls?.[backend]?.rows ?? [])
        .filter(({ elements }) => elements > from && elements <= to)
        .map(one => one[what] - (one.kernel ?? Number.NaN))
    )
  const any = Number.POSITIVE_INFINITY
  const ns = ' ns' as const
  const call = 'a call over its kernel, LayerNorm of one row'
  table.atMost(`${call}, prepared, up to 1,024 elements`, 120, backend => over(backend, 'layer', 0, 1024), ns)
  table.atMost(`${call}, prepared, 2,048 and 4,096`, 220, backend => over(backend, 'layer', 1024, any), ns)
  table.atMost(`${call}, function with weight and bias`, 300, backend => over(backend, 'function', 0, any), ns)
  for (const name of Object.keys(calls?.[best]?.small ?? {})) {
    table.atMost(name, 1000, backend => calls?.[backend]?.small[name] ?? Number.NaN, ns)
  }
  const axes = calls?.[best]?.axes
  table.atMost(
    `layerNorm over the axes 0 and 2 of [${axes?.dims.join(', ')}]`,
    5,
    backend => calls?.[backend]?.axes.call ?? Number.NaN,
    ' ms'
  )
  for (const how of ['lengths', 'mask'] as const) {
    table.atMost(`LayerNorm, 45 % padding by \`${how}\`, against none`, 0.7, backend => {
      const padding = calls?.[backend]?.padding
      return padding ? padding[how] / padding.none : Number.NaN
    })
  }
  const count = calls?.[best]?.kinds.count ?? 0
  table.atMost(`a prepared call after ${count} other kinds of calls, against before`, 1.05, backend => {
    const kinds = calls?.[backend]?.kinds
    return kinds ? kinds.after / kinds.before : Number.NaN
  })
  const slowest = (backend: string) => most(Object.values(calls?.[backend]?.promises ?? {}))
  table.atMost('forwardAsync with `transfer`: time before the Promise, of all ways', 0.1, slowest, ' ms')
  table.atMost(
    'forwardAsync with `transfer`: longest pause of the event loop, above the idle one',
    0.3,
    backend => (eventLoop && backend === best ? eventLoop.transfer.longest - eventLoop.idle.longest : Number.NaN),
    ' ms'
  )
}

function addOneDnn(table: Table, results: Results): void {
  const ratio = (one: Comparison | undefined) => (backend: string) =>
    timeOf(one, oneDnn(backend)) / oursOf(one, backend)
  for (const rows of [1, 8, 32, 256, 1024, 8192, 32768]) {
    const one = find(results, 'family', 'layerNorm', rows, COLS)
    const text = `${thousands(rows)} ${rows === 1 ? 'row' : 'rows'}, LayerNorm: oneDNN takes`
    table.atLeast(text, rows < 8192 ? 1.15 : 1.4, ratio(one))
  }
  for (const { dims } of batchNorms) {
    const one = find(results, 'family', 'batchNorm', ...dims)
    table.atLeast(`batchNorm, inference, [${dims.join(', ')}]: oneDNN takes`, 1.5, ratio(one))
  }
}

/** Copies that forward and backward together may take, from memory; and what they read and write. */
const together: { readonly [op in GradientOp]: readonly [goal: number, floor: number] } = {
  layerNorm: [3.5, 2.5],
  rmsNorm: [3.5, 2.5],
  groupNorm: [3.5, 2.5],
  batchNormTraining: [5, 4]
}

function addGradients(table: Table, results: Results): void {
  const all = results.gradients ?? []
  const copies = (one: Gradients, backend: string) =>
    (one.times[labelOf(BOTH, backend)] ?? Number.NaN) / one.copy.nanoseconds
  for (const op of opsOf(all) as GradientOp[]) {
    const [goal, floor] = together[op]
    const own = all.filter(one => one.op === op)
    const large = own.filter(one => isFromMemory(results, one))
    const what = `${titles[op]}, forward and backward`
    table.atMost(`${what}, from memory: copies`, goal, backend => most(large.map(one => copies(one, backend))))
    table.atLeastOrCopies(`${what}, every shape: PyTorch takes`, 1.5, Number((1.1 * floor).toFixed(2)), backend =>
      own.map(one => {
        const torch = one.times[labelOf(BOTH, 'PyTorch')] ?? Number.NaN
        return [torch / one.times[labelOf(BOTH, backend)], copies(one, backend)]
      })
    )
  }
}

function addEmbeddings(table: Table, { embeddings, machine }: Results): void {
  if (!embeddings) return
  const { shapes, loop } = embeddings
  const ratios = (one: (backend: string) => string, other: (backend: string) => string) => (backend: string) =>
    shapes.map(
      ({ times }) => (times[one(backend)]?.median ?? Number.NaN) / (times[other(backend)]?.median ?? Number.NaN)
    )
  const against = ratios(onBackend, () => COPY)
  table.atMost('embeddings, every shape: copies of the real rows', 1.2, backend => most(against(backend)))
  for (const [who, goal] of [
    [POOLING, 25],
    [PLAIN, 6]
  ] as const) {
    const others = ratios(() => who, onBackend)
    table.atLeast(`embeddings, every shape: ${who} takes`, goal, backend => least(others(backend)))
  }
  table.atMost(
    'embeddings, forwardAsync with `transfer`: longest pause of the event loop, above the idle one',
    1,
    backend => (backend === machine.backend ? loop.longest.steady - loop.longest.idle : Number.NaN),
    ' ms'
  )
}

/** What runs on the best backend, or on none. */
function addOthers(table: Table, results: Results): void {
  const { backend: best } = results.machine
  const onlyBest = (figure: number) => (backend: string) => (backend === best ? figure : Number.NaN)
  for (const rows of [1024, 8192, 32768]) {
    const one = find(results, 'threads', 'layerNorm', rows, COLS)
    const time = (threads: number) => timeOf(one, threaded(prepared(best), threads))
    table.atLeast(`${thousands(rows)} rows, LayerNorm: one thread takes, of two`, 1.85, onlyBest(time(1) / time(2)))
  }
  const ofTypeScript = (one: Comparison) => {
    const layer = timeOf(one, prepared('js'))
    return Number.isNaN(layer) ? timeOf(one, 'kernel (js)') : layer
  }
  const all = families(results).filter(({ dims }) => dims[0] > 1)
  const takes = (name: string) => onlyBest(least(all.map(one => timeOf(one, name) / ofTypeScript(one))))
  table.atLeast('TypeScript, every operation and shape: the plain loop takes', 0.8, takes(PLAIN))
  table.atLeast('TypeScript, LayerNorm: transformers.js takes', 6, takes(TRANSFORMERS))
}

export const threaded = (name: string, threads: number) => `${name}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`
export const thousands = (value: number) => Math.round(value).toLocaleString('en')

/** Where the operands of a comparison lie, as far as that is known. */
export function placeOf({ machine: { cache } }: Results, comparison: Comparison | undefined): string {
  if (!comparison || !cache) return 'from memory'
  const share = (8 * comparison.dims.reduce((product, dim) => product * dim, 1)) / cache
  return `${share.toFixed(share < 10 ? 1 : 0)} times the last-level cache`
}
