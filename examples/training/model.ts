// A small language model: the next character from the eight before it. It is the feed-forward path of a transformer, a pre-norm
// residual network: stream += relu(norm(stream) w1 + b1) w2, in each of six blocks; then a norm and a linear layer to 32 characters.
import { normal, random } from '../../dist/esm/cases/data.js'
import { exp, log } from './arithmetic.ts'
import { inputGradient, linear, weightGradient } from './linear.ts'
import { makeNorm, type Norm, type NormName, type Parameter, parameter } from './norms.ts'
import { CHARACTERS } from './text.ts'

export const CONTEXT = 8
const EMBEDDING = 16
export const WIDTH = 64

export interface Shape {
  readonly norm: NormName
  readonly seed: number
  /** Blocks. Default: 6. */
  readonly depth?: number
  /** Factor of the initial weights of the blocks and of the layer before them. Default: 1. */
  readonly scale?: number
  /** Factor of the initial weights of the layer that ends a block. Default: 1. */
  readonly branchScale?: number
}

/** What a forward keeps of so many windows of text: rows. */
export class Activations {
  readonly rows: number
  /** The characters of each window, by number, and the one that follows. */
  readonly ids: Uint8Array
  readonly next: Uint8Array
  readonly embedded: Float32Array
  /** The residual stream before each block, and at its end; the same after the norm. */
  readonly stream: readonly Float32Array[]
  readonly normed: readonly Float32Array[]
  readonly hidden: readonly Float32Array[]
  readonly logits: Float32Array

  constructor(rows: number, depth: number) {
    const arrays = (count: number) => Array.from({ length: count }, () => new Float32Array(rows * WIDTH))
    this.rows = rows
    this.ids = new Uint8Array(rows * CONTEXT)
    this.next = new Uint8Array(rows)
    this.embedded = new Float32Array(rows * CONTEXT * EMBEDDING)
    this.stream = arrays(depth + 1)
    this.normed = arrays(depth + 1)
    this.hidden = arrays(depth)
    this.logits = new Float32Array(rows * CHARACTERS)
  }

  /** Takes the windows of a text that begin at these places. */
  load(text: Uint8Array, placeOf: (row: number) => number): void {
    for (let row = 0; row < this.rows; row++) {
      const place = placeOf(row)
      this.ids.set(text.subarray(place, place + CONTEXT), row * CONTEXT)
      this.next[row] = text[place + CONTEXT]
    }
  }
}

interface Block {
  readonly norm: Norm
  readonly w1: Parameter
  readonly b1: Parameter
  readonly w2: Parameter
}

export class Model {
  readonly depth: number
  /** Every weight that is learned. */
  readonly parameters: readonly Parameter[]
  readonly #embedding: Parameter
  readonly #input: Parameter
  readonly #blocks: readonly Block[]
  readonly #norm: Norm
  readonly #output: Parameter
  readonly #outputBias: Parameter

  /** All norms of one seed begin with the same weights. */
  constructor({ norm, seed, depth = 6, scale = 1, branchScale = 1 }: Shape) {
    const next = random(seed)
    const weights = (inputs: number, outputs: number, factor: number) =>
      parameter(Float32Array.from({ length: inputs * outputs }, () => (factor * normal(next)) / Math.sqrt(inputs)))
    this.depth = depth
    this.#embedding = parameter(Float32Array.from({ length: CHARACTERS * EMBEDDING }, () => normal(next)))
    this.#input = weights(CONTEXT * EMBEDDING, WIDTH, scale)
    this.#blocks = Array.from({ length: depth }, () => ({
      norm: makeNorm[norm](WIDTH),
      w1: weights(WIDTH, WIDTH, scale * Math.SQRT2),
      b1: parameter(new Float32Array(WIDTH)),
      w2: weights(WIDTH, WIDTH, scale * branchScale)
    }))
    this.#norm = makeNorm[norm](WIDTH)
    this.#output = weights(WIDTH, CHARACTERS, 1)
    this.#outputBias = parameter(new Float32Array(CHARACTERS))
    this.parameters = [
      this.#embedding,
      this.#input,
      ...this.#blocks.flatMap(({ norm, w1, b1, w2 }) => [...norm.parameters, w1, b1, w2]),
      ...this.#norm.parameters,
      this.#output,
      this.#outputBias
    ]
  }

  /** Computes the logits of all windows. */
  forward(all: Activations, training: boolean): void {
    const { rows, ids, embedded, stream, normed, hidden, logits } = all
    ids.forEach((id, i) => {
      const from = id * EMBEDDING
      embedded.set(this.#embedding.value.subarray(from, from + EMBEDDING), i * EMBEDDING)
    })
    linear(stream[0], embedded, this.#input.value, rows)
    for (const [l, { norm, w1, b1, w2 }] of this.#blocks.entries()) {
      norm.forward(stream[l], normed[l], training)
      linear(hidden[l], normed[l], w1.value, rows)
      addBias(hidden[l], b1.value)
      relu(hidden[l])
      linear(stream[l + 1], hidden[l], w2.value, rows)
      add(stream[l + 1], stream[l])
    }
    this.#norm.forward(stream[this.depth], normed[this.depth], training)
    linear(logits, normed[this.depth], this.#output.value, rows)
    addBias(logits, this.#outputBias.value)
  }

  /** The gradients of all parameters, from those of the logits, after a forward in training. */
  backward({ rows, ids, embedded, stream, normed, hidden }: Activations, dlogits: Float32Array): void {
    const dstream = new Float32Array(rows * WIDTH)
    const dnormed = new Float32Array(rows * WIDTH)
    const dhidden = new Float32Array(rows * WIDTH)
    weightGradient(this.#output.gradient, normed[this.depth], dlogits, rows)
    biasGradient(this.#outputBias.gradient, dlogits)
    inputGradient(dstream, dlogits, this.#output.value, rows)
    this.#norm.backward(dstream, stream[this.depth])
    for (let l = this.depth - 1; l >= 0; l--) {
      const { norm, w1, b1, w2 } = this.#blocks[l]
      weightGradient(w2.gradient, hidden[l], dstream, rows)
      inputGradient(dhidden, dstream, w2.value, rows)
      reluGradient(dhidden, hidden[l])
      weightGradient(w1.gradient, normed[l], dhidden, rows)
      biasGradient(b1.gradient, dhidden)
      inputGradient(dnormed, dhidden, w1.value, rows)
      norm.backward(dnormed, stream[l])
      add(dstream, dnormed)
    }
    const dembedded = new Float32Array(embedded.length)
    weightGradient(this.#input.gradient, embedded, dstream, rows)
    inputGradient(dembedded, dstream, this.#input.value, rows)
    const { gradient } = this.#embedding
    gradient.fill(0)
    ids.forEach((id, i) => {
      for (let e = 0; e < EMBEDDING; e++) gradient[id * EMBEDDING + e] += dembedded[i * EMBEDDING + e]
    })
  }
}

/** The mean cross-entropy in nats; writes its gradient where a place is given. */
export function crossEntropy({ rows, next, logits }: Activations, dlogits?: Float32Array): number {
  const exps = new Float64Array(CHARACTERS)
  let total = 0
  for (let row = 0; row < rows; row++) {
    const own = logits.subarray(row * CHARACTERS, (row + 1) * CHARACTERS)
    const largest = own.reduce((most, value) => Math.max(most, value))
    let sum = 0
    for (let c = 0; c < CHARACTERS; c++) {
      exps[c] = exp(own[c] - largest)
      sum += exps[c]
    }
    total += log(sum) - (own[next[row]] - largest)
    if (!dlogits) continue
    for (let c = 0; c < CHARACTERS; c++) {
      dlogits[row * CHARACTERS + c] = (exps[c] / sum - (c === next[row] ? 1 : 0)) / rows
    }
  }
  return total / rows
}

function add(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] += y[i]
}

function addBias(x: Float32Array, bias: Float32Array): void {
  for (let i = 0; i < x.length; ) for (let j = 0; j < bias.length; j++) x[i++] += bias[j]
}

function biasGradient(dbias: Float32Array, dx: Float32Array): void {
  dbias.fill(0)
  for (let i = 0; i < dx.length; ) for (let j = 0; j < dbias.length; j++) dbias[j] += dx[i++]
}

function relu(x: Float32Array): void {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0
}

function reluGradient(dx: Float32Array, y: Float32Array): void {
  for (let i = 0; i < dx.length; i++) if (!(y[i] > 0)) dx[i] = 0
}
