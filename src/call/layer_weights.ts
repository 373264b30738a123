// The parameters that a layer keeps.
import { copyParameter } from './async_memory.js'
import { type Known, readOptions } from './options.js'
import { type Operand, readVector } from './tensor.js'

/** weight and bias; a layer without a bias has none. */
export interface Weights {
  weight?: Operand
  bias?: Operand
}

/** Copies of a layer's weight and bias. */
export class LayerWeights {
  readonly #op: string
  readonly #shape: readonly number[]
  readonly #why: string
  readonly #known: Known<Weights>
  #weight: Float32Array | undefined
  #bias: Float32Array | undefined

  /** For parameters of this shape, which `why` names; `known` says which of the two the layer has. */
  constructor(op: string, shape: readonly number[], why: string, known: object = { weight: true, bias: true }) {
    this.#op = op
    this.#shape = shape
    this.#why = why
    this.#known = known as Known<Weights>
  }

  get weight(): Float32Array | undefined {
    return this.#weight
  }

  get bias(): Float32Array | undefined {
    return this.#bias
  }

  /** Replaces both with copies. An omitted one is removed. */
  set(given: Weights): void {
    const { weight, bias } = readOptions(this.#op, given, this.#known)
    const newWeight = readVector(this.#op, 'weight', weight, this.#shape, this.#why)
    const newBias = readVector(this.#op, 'bias', bias, this.#shape, this.#why)
    this.#weight = copyParameter(newWeight)
    this.#bias = copyParameter(newBias)
  }
}
