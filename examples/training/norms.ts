// The norms that are compared: evenkeel's own forward and backward.
import {
  batchNorm,
  batchNormBackward,
  layerNorm,
  layerNormBackward,
  rmsNorm,
  rmsNormBackward
} from '../../dist/esm/index.js'

/** Weights and their gradient. */
export interface Parameter {
  readonly value: Float32Array
  readonly gradient: Float32Array
}

export const parameter = (value: Float32Array): Parameter => ({ value, gradient: new Float32Array(value.length) })

export interface Norm {
  readonly parameters: readonly Parameter[]
  /** Writes y. In training it keeps what the backward needs. */
  forward(x: Float32Array, y: Float32Array, training: boolean): void
  /** Turns dy, in place, into the gradient of x; x is that of the last forward in training. Writes the gradients of the parameters. */
  backward(dy: Float32Array, x: Float32Array): void
}

/** By the names that a run has; in charts and tables they are called as here. */
export const normTitles = {
  none: 'no norm',
  batch: 'BatchNorm',
  layer: 'LayerNorm',
  rms: 'RMSNorm',
  prms: 'pRMSNorm'
} as const
export type NormName = keyof typeof normTitles
export const normNames = Object.keys(normTitles) as NormName[]

const eps = 1e-5
const ones = (n: number) => parameter(new Float32Array(n).fill(1))
const zeros = (n: number) => parameter(new Float32Array(n))

/** Memory for one number each of so many rows or channels, until there are others. */
class Statistics {
  mean = new Float64Array(0)
  rstd = new Float64Array(0)

  /** What a forward writes, and what a backward reads. */
  of(count: number): { mean: Float64Array; rstd: Float64Array } {
    if (this.mean.length !== count) {
      this.mean = new Float64Array(count)
      this.rstd = new Float64Array(count)
    }
    return { mean: this.mean, rstd: this.rstd }
  }
}

const none = (): Norm => ({
  parameters: [],
  forward: (x, y) => y.set(x),
  backward: () => {}
})

function layer(n: number): Norm {
  const [weight, bias] = [ones(n), zeros(n)]
  const statistics = new Statistics()
  const values = { weight: weight.value, bias: bias.value, eps }
  const places = { dweight: weight.gradient, dbias: bias.gradient }
  return {
    parameters: [weight, bias],
    forward(x, out, training) {
      layerNorm(x, n, { ...values, out, ...(training && statistics.of(x.length / n)) })
    },
    backward(dy, x) {
      layerNormBackward(dy, x, n, { ...values, ...places, dx: dy, ...statistics.of(x.length / n) })
    }
  }
}

function rms(n: number, partial: number): Norm {
  const weight = ones(n)
  const statistics = new Statistics()
  const values = { weight: weight.value, eps, partial }
  return {
    parameters: [weight],
    forward(x, out, training) {
      rmsNorm(x, n, { ...values, out, ...(training && { rstd: statistics.of(x.length / n).rstd }) })
    },
    backward(dy, x) {
      const { rstd } = statistics.of(x.length / n)
      rmsNormBackward(dy, x, n, { ...values, dweight: weight.gradient, dx: dy, rstd })
    }
  }
}

function batch(n: number): Norm {
  const [weight, bias] = [ones(n), zeros(n)]
  const running = { runningMean: new Float32Array(n), runningVar: new Float32Array(n).fill(1) }
  const statistics = new Statistics()
  const values = { weight: weight.value, bias: bias.value, eps }
  const places = { dweight: weight.gradient, dbias: bias.gradient }
  const tensor = (data: Float32Array) => ({ data, dims: [data.length / n, n] })
  return {
    parameters: [weight, bias],
    forward(x, y, training) {
      const options = { ...values, ...running, training, momentum: 0.1, out: y, ...(training && statistics.of(n)) }
      batchNorm(tensor(x), options)
    },
    backward(dy, x) {
      batchNormBackward(dy, tensor(x), { ...values, ...places, training: true, dx: dy, ...statistics.of(n) })
    }
  }
}

/** A norm over n features. pRMSNorm looks at the first 6.25 % of them, as in the paper. */
export const makeNorm: { readonly [name in NormName]: (n: number) => Norm } = {
  none,
  batch,
  layer,
  rms: n => rms(n, 1),
  prms: n => rms(n, 0.0625)
}
