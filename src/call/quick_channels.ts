// The plain calls of a layer over channels: no option but `out`, channels first, no padding.
import { chosen } from '../backend/choice.js'
import type { ChannelOp, RunPreparedChannels } from '../backend/types.js'
import { lengthOf, storageOf } from '../kernels/arrays.js'
import type { VolumeCall, VolumeInput } from './channels.js'
import type { LayerWeights } from './layer_weights.js'

/** A layer's kernel, where kernels are native: its parameters and numbers are in native memory. */
export class QuickChannels {
  readonly #op: ChannelOp
  /** Of the channels of a sample. */
  readonly #shape: { readonly groups: number; readonly channelsPerGroup: number }
  readonly #eps: number
  readonly #weights: LayerWeights
  /** Prepared at the first call, and again when the layer's parameters are others. */
  #run: RunPreparedChannels | undefined
  #weight: Float32Array | undefined
  #bias: Float32Array | undefined

  constructor(op: ChannelOp, groups: number, channelsPerGroup: number, eps: number, weights: LayerWeights) {
    this.#op = op
    this.#shape = { groups, channelsPerGroup }
    this.#eps = eps
    this.#weights = weights
  }

  /**
   * Makes a call that was read, where nothing is wrong with it. Returns whether it did: where not, nothing was written, and
   * the general way finds the words for what is wrong.
   */
  run(
    { data, shape }: VolumeInput,
    { y, length }: VolumeCall,
    runningMean?: Float32Array,
    runningVar?: Float32Array
  ): boolean {
    // What the class of x constructs may have changed them.
    if (length === 0 || lengthOf(data) !== length || lengthOf(y) !== length) return false
    if (storageOf(data) !== undefined || storageOf(y) !== undefined) return false
    const { weight, bias } = this.#weights
    if (!this.#run || weight !== this.#weight || bias !== this.#bias) this.#prepare(weight, bias)
    const run = this.#run
    if (!run) return false
    // Each array that is passed costs, also one that is absent (measured).
    if (!runningMean) return run(y, data, shape.positions) === true
    return run(y, data, shape.positions, runningMean, runningVar) === true
  }

  #prepare(weight: Float32Array | undefined, bias: Float32Array | undefined): void {
    // A matrix of samples and channels has its groups in rows, but for those of single channels over a batch.
    const channelsLast = this.#op === 'batch_norm'
    const shape = { samples: 0, ...this.#shape, positions: 1, channelsLast }
    this.#run = chosen.prepare?.[this.#op]?.({ weight, bias, shape, eps: this.#eps })
    this.#weight = weight
    this.#bias = bias
  }
}
