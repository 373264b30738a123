// One training run. All that it does follows from what it is given, to the bit.
import { random } from '../../dist/esm/cases/data.js'
import { Activations, CONTEXT, crossEntropy, Model, type Shape, WIDTH } from './model.ts'
import { clipping, type OptimiserName, optimisers } from './optimisers.ts'
import { readText } from './text.ts'

export interface Run extends Shape {
  readonly optimiser: OptimiserName
  /** The learning rate of the first half of the steps; in the second half it falls to 0 along a line. */
  readonly rate: number
  readonly batch: number
  readonly steps: number
  /** All gradients together are cut to this norm (SGD). Default: they are not. */
  readonly clip?: number
  /** How many held-out windows are looked at. */
  readonly windows: number
  /** Whether BatchNorm is evaluated with the statistics of its batches, too. */
  readonly bothModes?: boolean
  /** Whether the hidden vectors at successive positions are looked at. */
  readonly positions?: boolean
}

export interface Outcome {
  /** The loss of each step, in nats per character: the mean over its batch. */
  readonly losses: Float64Array
  /** The loss on text that it did not learn from; null where training diverged. */
  readonly heldOut: number | null
  /** The same with the statistics of its own batches, in place of the running ones. */
  readonly heldOutByBatch?: number | null
  readonly positions?: { readonly begin: Positions; readonly end: Positions }
}

/** Mean and standard deviation of vectors, over their features: one of each for a position. */
export interface Moments {
  readonly mean: number[]
  readonly std: number[]
}

export interface Positions {
  /** The standard deviation in the residual stream before each block and at the end, a mean over positions. */
  readonly stdByDepth: number[]
  /** The end of the stream, and what comes out of the last norm. */
  readonly stream: Moments
  readonly normed: Moments
}

/** Beyond this loss nothing is learned any more. No norm begins at about 20. */
const DIVERGED = 1e4
/** Windows that are evaluated at a time, and positions that are looked at. */
const ROWS = 64

export function train(run: Run): Outcome {
  const { optimiser, rate, seed, batch, steps, clip, windows } = run
  const { training, heldOut } = readText()
  const next = random(seed + 1000)
  const model = new Model(run)
  const update = optimisers[optimiser](model.parameters)
  const all = new Activations(batch, model.depth)
  const dlogits = new Float32Array(all.logits.length)
  const begin = run.positions ? lookAt(new Model(run), true) : undefined
  const losses = new Float64Array(steps)
  for (let step = 0; step < steps; step++) {
    all.load(training, () => Math.floor(next() * (training.length - CONTEXT)))
    model.forward(all, true)
    losses[step] = crossEntropy(all, dlogits)
    if (!(losses[step] < DIVERGED)) return { losses: losses.slice(0, step + 1), heldOut: null }
    model.backward(all, dlogits)
    const decay = Math.min(1, 2 * (1 - step / steps))
    update(rate * decay * (clip ? clipping(model.parameters, clip) : 1))
  }
  const loss = (rows: number, byBatch: boolean) => {
    const mean = evaluate(model, heldOut, windows, rows, byBatch)
    return Number.isFinite(mean) ? mean : null
  }
  return {
    losses,
    heldOut: loss(ROWS, false),
    ...(begin && { positions: { begin, end: lookAt(model, false) } }),
    // The last, because it moves the running statistics.
    ...(run.bothModes && { heldOutByBatch: loss(batch, true) })
  }
}

/** The mean loss over so many windows, evenly spread over a text. */
function evaluate(model: Model, text: Uint8Array, windows: number, rows: number, training: boolean): number {
  const all = new Activations(rows, model.depth)
  let sum = 0
  for (let first = 0; first < windows; first += rows) {
    all.load(text, row => Math.floor(((first + row) * (text.length - CONTEXT)) / windows))
    model.forward(all, training)
    sum += crossEntropy(all) * rows
  }
  return sum / windows
}

/** The hidden vectors of successive positions in the held-out text. */
function lookAt(model: Model, training: boolean): Positions {
  const { heldOut } = readText()
  const all = new Activations(ROWS, model.depth)
  all.load(heldOut, row => 20_000 + row)
  model.forward(all, training)
  return {
    stdByDepth: all.stream.map(x => average(momentsOf(x, WIDTH).std)),
    stream: momentsOf(all.stream[model.depth], WIDTH),
    normed: momentsOf(all.normed[model.depth], WIDTH)
  }
}

export const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/** Mean and standard deviation of each row. */
export function momentsOf(x: Float32Array, features: number): Moments {
  const rows = Array.from({ length: x.length / features }, (_, i) =>
    Array.from(x.subarray(i * features, (i + 1) * features))
  )
  const mean = rows.map(average)
  return { mean, std: rows.map((row, i) => Math.sqrt(average(row.map(value => (value - mean[i]) ** 2)))) }
}
