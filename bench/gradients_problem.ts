// Gradients to be computed: the same for all contenders of gradients.ts, and what is right.
import { GROUPS, type Op, type Problem, problemOf } from './problem.ts'
import type { BenchShape } from './shapes.ts'

export type GradientOp = Extract<Op, 'layerNorm' | 'rmsNorm' | 'groupNorm' | 'batchNormTraining'>

export const gradientOps: readonly GradientOp[] = ['layerNorm', 'rmsNorm', 'groupNorm', 'batchNormTraining']

/** Names of candidates; gradients_torch.py has the same. */
/** With the statistics that the forward kept. */
export const BACKWARD = 'backward'
export const BOTH = 'forward + backward'
const TWO = ', two threads'
export const onThreads = (name: string, threads: number) => (threads === 1 ? name : name + TWO)
export const takesTwo = (name: string) => name.endsWith(TWO)
/** What a task of a contender is called in the results. */
export const labelOf = (task: string, contender: string) => `${task}: ${contender === 'js' ? 'TypeScript' : contender}`

export interface GradientProblem extends Problem {
  readonly op: GradientOp
  /** Gradient of the result. */
  readonly dy: Float32Array
}

export function gradientProblem(shape: Pick<BenchShape, 'dims' | 'channelsLast'> & { op: GradientOp }) {
  const { x: dy } = problemOf(shape, undefined, shape.dims[0] + 1)
  return { ...problemOf(shape), dy } as GradientProblem
}

/** Whether the op has a bias and takes the mean away. */
export const hasMean = (op: GradientOp) => op !== 'rmsNorm'

/** How many groups there are, as many as statistics. */
export function countGroups({ op, samples, channels }: GradientProblem): number {
  if (op === 'batchNormTraining') return channels
  return op === 'groupNorm' ? samples * GROUPS : samples
}

type Visit = (i: number, group: number, channel: number) => void

/** Comes by all elements in the order of memory. */
function eachElement({ op, samples, channels, positions, channelsLast }: GradientProblem, visit: Visit): void {
  const perSample = op === 'batchNormTraining' ? 0 : op === 'groupNorm' ? GROUPS : 1
  const groupOf = Int32Array.from({ length: channels }, (_, c) => {
    if (op === 'batchNormTraining') return c
    return op === 'groupNorm' ? Math.floor((c * GROUPS) / channels) : 0
  })
  let i = 0
  for (let n = 0; n < samples; n++) {
    const first = n * perSample
    if (channelsLast) {
      for (let p = 0; p < positions; p++) for (let c = 0; c < channels; c++) visit(i++, first + groupOf[c], c)
    } else {
      for (let c = 0; c < channels; c++) for (let p = 0; p < positions; p++) visit(i++, first + groupOf[c], c)
    }
  }
}

export interface Statistics {
  readonly mean: Float64Array
  readonly rstd: Float64Array
}

/** Those of the groups, in two passes of float64; the mean is 0 where the op has none. */
export function statisticsOf(given: GradientProblem): Statistics {
  const { op, x, eps } = given
  const groups = countGroups(given)
  const count = x.length / groups
  const mean = new Float64Array(groups)
  if (hasMean(op)) {
    eachElement(given, (i, group) => {
      mean[group] += x[i]
    })
    for (let group = 0; group < groups; group++) mean[group] /= count
  }
  const variance = new Float64Array(groups)
  eachElement(given, (i, group) => {
    variance[group] += (x[i] - mean[group]) ** 2
  })
  return { mean, rstd: variance.map(value => 1 / Math.sqrt(value / count + eps)) }
}

/** What comes out, one behind the other in what contenders hand on: dx, dweight and, where the op has a bias, dbias. */
export const outputs = ['dx', 'dweight', 'dbias'] as const
export type Exact = readonly Float64Array[]

/** The formulas, in float64: with t = (x - mean) * rstd and g = dy * weight, dx = rstd * (g - mean of g - t * mean of g * t). */
export function exactGradients(given: GradientProblem): Exact {
  const { op, x, dy, weight, channels } = given
  const groups = countGroups(given)
  const count = x.length / groups
  const { mean, rstd } = statisticsOf(given)
  const [a, b] = [new Float64Array(groups), new Float64Array(groups)]
  const [dweight, dbias] = [new Float64Array(channels), new Float64Array(channels)]
  eachElement(given, (i, group, c) => {
    const t = (x[i] - mean[group]) * rstd[group]
    a[group] += dy[i] * weight[c]
    b[group] += dy[i] * weight[c] * t
    dweight[c] += dy[i] * t
    dbias[c] += dy[i]
  })
  if (!hasMean(op)) a.fill(0)
  const dx = new Float64Array(x.length)
  eachElement(given, (i, group, c) => {
    const t = (x[i] - mean[group]) * rstd[group]
    dx[i] = rstd[group] * (dy[i] * weight[c] - a[group] / count - (t * b[group]) / count)
  })
  return hasMean(op) ? [dx, dweight, dbias] : [dx, dweight]
}

/** What float64 sums may move, in parts of the largest element of an output. */
const SUMS = 1e-9
/**
 * What float32 sums may move: PyTorch 1.13 adds up 200,704 squares of a channel one by one, channels last, and is 2e-4 off. Whoever
 * computes something else is further off.
 */
export const FLOAT32_SUMS = 1e-3

/** An output's largest error in parts of its largest element, and whether each is within a rounding to float32 and SUMS. */
export interface Error64 {
  readonly worst: number
  readonly isRounded: boolean
}

/** The errors of all outputs; undefined where there are more or fewer elements. */
export function errorsOf(result: Float32Array, exact: Exact): Error64[] | undefined {
  if (result.length !== exact.reduce((sum, { length }) => sum + length, 0)) return undefined
  let at = 0
  return exact.map(values => {
    let largest = 0
    for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]))
    let worst = 0
    let isRounded = true
    for (let i = 0; i < values.length; i++) {
      const off = Math.abs(result[at++] - values[i])
      worst = Math.max(worst, off) // NaN stays
      if (!(off <= Math.abs(values[i]) * 2 ** -24 + largest * SUMS)) isRounded = false
    }
    return { worst: worst / largest, isRounded }
  })
}
