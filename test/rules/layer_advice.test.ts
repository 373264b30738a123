// What messages of layers say to somebody who assigns to their properties, or takes their methods off them.
import { describe, expect, it } from 'vitest'
import {
  BatchNorm,
  EmbeddingPooler,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  Normalize,
  RMSNorm
} from '../../dist/esm/index.js'
import { message } from '../support/message.ts'

const array = new Float32Array(8)

/** What changes a property of a layer. */
const changes: { readonly [property: string]: string } = {
  weight: 'layer.setWeights({ ...layer.parameters(), weight }) replaces it',
  bias: 'layer.setWeights({ ...layer.parameters(), bias }) replaces it',
  runningMean: 'layer.runningMean.set(values) writes into it',
  runningVar: 'layer.runningVar.set(values) writes into it',
  numBatchesTracked: 'layer.loadState(state) takes one',
  training: 'layer.train() or layer.eval() changes it'
}

describe('behaviour: what messages of layers say to do', () => {
  const layers = [
    new LayerNorm(4),
    new RMSNorm(4),
    new Normalize(4),
    new BatchNorm(4),
    new GroupNorm(2, 4),
    new InstanceNorm(4),
    new EmbeddingPooler(4)
  ]
  it.each(layers.map(layer => [layer.constructor.name, layer as object] as const))(
    'an assignment to a property of a %s, which changes nothing',
    (name, layer) => {
      const prototype = Object.getPrototypeOf(layer) as object
      const getters = Object.entries(Object.getOwnPropertyDescriptors(prototype)).filter(([, { get }]) => get)
      const shown = layer as { [property: string]: unknown }
      for (const [property] of getters) {
        const before = shown[property]
        const said = message(() => {
          shown[property] = array
        })
        const advice = changes[property] ?? 'it stays as it is constructed: make another'
        expect(said).toBe(`${name}: ${property} expected no assignment, got one; ${advice}`)
        expect(shown[property]).toEqual(before)
      }
      expect(getters.length).toBeGreaterThan(2)
    }
  )

  it('what assignments are told works', () => {
    const layer = new LayerNorm(1, { weight: Float32Array.of(1), bias: Float32Array.of(2) })
    layer.setWeights({ ...layer.parameters(), weight: Float32Array.of(3) })
    expect([layer.weight, layer.bias]).toEqual([Float32Array.of(3), Float32Array.of(2)])
    const batch = new BatchNorm(1).eval()
    batch.runningMean?.set([5])
    expect(batch.forward({ data: Float32Array.of(5), dims: [1, 1] }).data).toEqual(Float32Array.of(0))
  })

  it.each(layers.map(layer => [layer.constructor.name, layer as object] as const))(
    'a method that was taken off its %s',
    async (name, layer) => {
      const methods = ['forward', 'forwardAsync', 'backward', 'backwardAsync'].filter(method => method in layer)
      for (const method of methods) {
        const taken = (layer as { [method: string]: (x: unknown) => unknown })[method]
        let error: unknown
        try {
          await taken(array)
        } catch (thrown) {
          error = thrown
        }
        expect((error as Error).message).toBe(
          `${name}: this expected the object of ${method}, got undefined; pass x => layer.${method}(x) in its place`
        )
      }
    }
  )
})
