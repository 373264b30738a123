// examples/tfjs: evenkeel's norms give TensorFlow.js the outputs and gradients that its own operations have, and a model trains.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { normal, random } from '../../dist/esm/cases/data.js'
import { node, root } from '../support/process.ts'

const folder = join(root, 'examples/tfjs')
const installed = existsSync(join(folder, 'node_modules'))
if (!installed) console.log('examples/tfjs is not installed (npm ci in it): its tests are skipped')

/**
 * How far they may be apart, relative to the largest element: TensorFlow.js rounds each step to float32 (2^-24 is 6e-8). They are
 * up to 1.5e-7 apart.
 */
const TOLERANCE = 5e-7

interface Tensor {
  readonly shape: number[]
  dataSync(): Float32Array
  add(other: Tensor | number): Tensor
  sub(other: Tensor | number): Tensor
  mul(other: Tensor | number): Tensor
  square(): Tensor
  mean(axis: number, keepDims: boolean): Tensor
  rsqrt(): Tensor
  sum(): Tensor
  reshape(shape: readonly number[]): Tensor
}
interface Layer {
  build(shape: readonly number[]): void
  setWeights(weights: readonly Tensor[]): void
  apply(x: Tensor): Tensor
  readonly weights: readonly { read(): Tensor }[]
}
interface Tfjs {
  tensor(data: Float32Array, shape: readonly number[]): Tensor
  grads(f: (...inputs: Tensor[]) => Tensor): (inputs: readonly Tensor[]) => Tensor[]
  moments(x: Tensor, axes: readonly number[], keepDims: boolean): { mean: Tensor; variance: Tensor }
  variableGrads(f: () => Tensor): { grads: { [name: string]: Tensor } }
  layers: { layerNormalization(options: object): Layer }
}
type Operation = (...inputs: Tensor[]) => Tensor

let tf: Tfjs
let ours: { [name in 'layerNorm' | 'rmsNorm' | 'groupNorm']: (...given: unknown[]) => Tensor }

function tensor(shape: readonly number[], seed: number, mean = 0): Tensor {
  const next = random(seed)
  const length = shape.reduce((product, n) => product * n, 1)
  return tf.tensor(
    Float32Array.from({ length }, () => mean + normal(next)),
    shape
  )
}

function near(actual: Tensor, expected: Tensor): void {
  expect(actual.shape).toEqual(expected.shape)
  const [a, b] = [actual.dataSync(), expected.dataSync()]
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const apart = a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0)
  expect(largest).toBeGreaterThan(0)
  expect(apart / largest).toBeLessThan(TOLERANCE)
}

/** The gradients of sum(dy * f(inputs)). */
const gradients = (f: Operation, dy: Tensor, inputs: readonly Tensor[]) =>
  tf.grads((...x) =>
    f(...x)
      .mul(dy)
      .sum()
  )(inputs)

function agree(mine: Operation, theirs: Operation, inputs: readonly Tensor[]): void {
  const y = theirs(...inputs)
  near(mine(...inputs), y)
  const dy = tensor(y.shape, 9)
  const expected = gradients(theirs, dy, inputs)
  for (const [i, gradient] of gradients(mine, dy, inputs).entries()) near(gradient, expected[i])
}

describe.skipIf(!installed)('behaviour: examples/tfjs against the gradients of TensorFlow.js', () => {
  beforeAll(async () => {
    tf = createRequire(join(folder, 'package.json'))('@tensorflow/tfjs')
    ours = await import(pathToFileURL(join(folder, 'norms.mjs')).href)
  })

  it('layerNorm: its layer', () => {
    const [x, dy, weight, bias] = [tensor([5, 7, 24], 1, 3), tensor([5, 7, 24], 2), tensor([24], 3, 1), tensor([24], 4)]
    const layer = tf.layers.layerNormalization({ epsilon: 1e-5 })
    layer.build([5, 7, 24])
    layer.setWeights([weight, bias])
    const mine = (x: Tensor, weight: Tensor, bias: Tensor) => ours.layerNorm(x, weight, bias)
    near(mine(x, weight, bias), layer.apply(x))
    const [dx, dweight, dbias] = gradients(mine, dy, [x, weight, bias])
    near(dx, gradients(x => layer.apply(x), dy, [x])[0])
    const { grads } = tf.variableGrads(() => layer.apply(x).mul(dy).sum())
    const [gamma, beta] = Object.values(grads)
    near(dweight, gamma)
    near(dbias, beta)
  })

  it('rmsNorm, which it has not: its operations', () => {
    agree(
      (x, weight) => ours.rmsNorm(x, weight),
      (x, weight) => x.mul(x.square().mean(-1, true).add(1e-6).rsqrt()).mul(weight),
      [tensor([6, 5, 32], 1, 1), tensor([32], 2, 1)]
    )
  })

  it('groupNorm, which it has not: its operations', () => {
    const theirs: Operation = (x, weight, bias) => {
      const groups = x.reshape([3, 20, 4, 6])
      const { mean, variance } = tf.moments(groups, [1, 3], true)
      return groups.sub(mean).mul(variance.add(1e-5).rsqrt()).reshape(x.shape).mul(weight).add(bias)
    }
    const inputs = [tensor([3, 4, 5, 24], 1, 2), tensor([24], 2, 1), tensor([24], 3)]
    agree((x, weight, bias) => ours.groupNorm(x, 4, weight, bias), theirs, inputs)
  })
})

describe.skipIf(!installed)('behaviour: examples/tfjs', () => {
  it('trains', () => {
    const { code, stdout } = node(['examples/tfjs/train.mjs'])
    expect(code).toBe(0)
    const losses = [...stdout.matchAll(/: ([\d.]+) nats/g)].map(([, loss]) => Number(loss))
    expect(losses).toHaveLength(6)
    expect(losses[5]).toBeLessThan(losses[0] - 0.4)
  })
})
