// The gradients as Markdown.
import { PLAIN } from '../dist/esm/cli/bench/rows.js'
import { BACKWARD, BOTH, type GradientOp, labelOf, onThreads, outputs } from './gradients_problem.ts'
import { titles } from './problem.ts'
import type { Gradients, Results } from './results.ts'
import { head, row, shapeOf } from './tables.ts'
import { isFromMemory } from './targets.ts'

const TORCH = 'PyTorch'
const elementsOf = ({ dims }: Gradients) => dims.reduce((product, dim) => product * dim, 1)
const digits = (value: number) => (value < 1000 ? value.toPrecision(3) : value.toFixed(0))
const megabytes = (bytes: number) => `${(bytes / 1e6).toPrecision(bytes < 1e8 ? 2 : 3)} MB`

/** The times of an op's shapes. */
export function gradientLines(results: Results, op: GradientOp): string[] {
  const found = results.gradients?.filter(one => one.op === op) ?? []
  if (found.length === 0) return []
  const isRows = op === 'layerNorm' || op === 'rmsNorm'
  const per = (one: Gradients) => (isRows ? one.dims[0] : elementsOf(one) / 1000)
  const state = (one: Gradients) =>
    `${megabytes(12 * elementsOf(one))}${isFromMemory(results, one) ? ', from memory' : ''}`
  const copy = (one: Gradients) =>
    `${digits(one.copy.nanoseconds / per(one))} (${one.copy.name.replace(/^copy \(|\)$/g, '')})`
  const cell = (one: Gradients, time: number | undefined) =>
    time === undefined ? '' : `${digits(time / per(one))} (${(time / one.copy.nanoseconds).toFixed(2)})`
  const task = (label: string) => [BACKWARD, BOTH].findIndex(name => label.startsWith(name))
  const labels = [...new Set(found.flatMap(({ times }) => Object.keys(times)))].sort((a, b) => task(a) - task(b))
  return [
    ...head(
      `${titles[op]}: ns of ${isRows ? 'a row' : '1,000 elements'}, (copies of x)`,
      ...found.map(one => `${shapeOf(one)}: ${state(one)}`)
    ),
    row('best copy of x', ...found.map(copy)),
    row('dx = x + dy', ...found.map(one => (isFromMemory(results, one) ? cell(one, one.sum) : ''))),
    ...labels.map(label => row(label, ...found.map(one => cell(one, one.times[label])))),
    ''
  ]
}

/** How many times as long others take, and the errors of all. */
export function gradientsBesideLines({ gradients = [], machine: { backend } }: Results): string[] {
  if (gradients.length === 0) return []
  const besides: readonly [what: string, one: string, other: string][] = [
    ['forward + backward: PyTorch takes', labelOf(BOTH, TORCH), labelOf(BOTH, backend)],
    ['the same, two threads', labelOf(onThreads(BOTH, 2), TORCH), labelOf(onThreads(BOTH, 2), backend)],
    ['one thread, of two', labelOf(BOTH, backend), labelOf(onThreads(BOTH, 2), backend)],
    ['backward alone: PyTorch takes', labelOf(BACKWARD, TORCH), labelOf(BACKWARD, backend)],
    ['the plain loop', labelOf(BACKWARD, PLAIN), labelOf(BACKWARD, backend)],
    ['the plain loop, of our TypeScript', labelOf(BACKWARD, PLAIN), labelOf(BACKWARD, 'js')]
  ]
  const nameOf = (one: Gradients) => `${titles[one.op]} ${shapeOf(one)}`
  const ratio = ({ times }: Gradients, one: string, other: string) =>
    one in times && other in times ? (times[one] / times[other]).toFixed(2) : ''
  const whos = [...new Set(gradients.flatMap(({ errors }) => Object.keys(errors)))]
  const errorsOf = (one: Gradients) =>
    whos.flatMap(who => outputs.map((_, i) => one.errors[who]?.[i]?.toExponential(0) ?? ''))
  return [
    ...head(`times as long as ours, ${backend}`, ...besides.map(([what]) => what)),
    ...gradients.map(one => row(nameOf(one), ...besides.map(([, a, b]) => ratio(one, a, b)))),
    '',
    'The largest errors, in parts of the largest element; a rounding to float32 is 6e-8 of an element at most:',
    '',
    ...head('', ...whos.flatMap(who => outputs.map(output => `${output}: ${who}`))),
    ...gradients.map(one => row(nameOf(one), ...errorsOf(one))),
    ''
  ]
}

/** What the numbers are. */
export const aboutGradients = [
  'Before it is timed, everyone is held against the formulas in float64: dx, dweight and dbias of ours are those,',
  'rounded once, with the same bits on the backends here, on one thread and on two; the others are right to 1e-3 of',
  'the largest element. Ours are layers as a training loop calls them, with places for all results; `backward` takes',
  'the mean and rstd that the forward kept. PyTorch makes new tensors, in memory that malloc is told to keep; its',
  '`backward` is native_layer_norm_backward (group, batch) with the statistics of the forward, that of rmsNorm, which',
  'is written out, autograd over a graph that is kept; `forward + backward` is torch.autograd.grad. The plain loop',
  'takes statistics that were kept. `dx = x + dy`, in C and past the caches, reads and writes what a backward does:',
  'from memory it is the floor. MB: x, dy and dx together; from memory: more than the last-level cache.'
]
