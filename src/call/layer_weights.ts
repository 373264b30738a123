// The parameters that a layer keeps.
import { copyParameter } from './async_memory.js'
import type { LayerParameters, LoadedState } from './layer_state.js'
import { type Known, readOptions } from './options.js'
import { type Operand, readVector } from './tensor.js'

/** weight and bias; a layer without a bias has none. */
export interface Weights {
  weight?: Operand | undefined
  bias?: Operand | undefined
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

  /** Which there may be. */
  get names(): ('weight' | 'bias')[] {
    return Object.keys(this.#known) as ('weight' | 'bias')[]
  }

  /** Copies for a caller. */
  copies(): LayerParameters {
    const copies: LayerParameters = {}
    if (this.#weight) copies.weight = new Float32Array(this.#weight)
    if (this.#bias) copies.bias = new Float32Array(this.#bias)
    return copies
  }

  /** Reads both from a state, which must have those that the layer has. What this returns replaces them: until then nothing changes. */
  read(state: LoadedState): () => void {
    const weight = copyParameter(state.vector('weight', this.#shape, this.#why, this.#weight !== undefined))
    const bias = copyParameter(state.vector('bias', this.#shape, this.#why, this.#bias !== undefined))
    return () => {
      this.#weight = weight
      this.#bias = bias
    }
  }
}
