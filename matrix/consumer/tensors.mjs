// Tensors of onnxruntime and of transformers.js as they come: the float16 output of a model goes straight in, a tensor of its
// class comes back, and another model takes that (not where there is Float16Array: onnxruntime-node 1.30 itself refuses it there). usage: node tensors.mjs <URL of evenkeel> <folder with the two packages>
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [, , root, packages] = process.argv
const { LayerNorm, layerNorm, poolEmbeddings, quantizeEmbeddings } = await import(`${root}/dist/esm/index.js`)
const { onnxModel } = await import(`${root}/dist/esm/cli/bench/onnx.js`)
const require = createRequire(join(packages, 'package.json'))
const onnxruntime = require('onnxruntime-node')
const transformers = await import(pathToFileURL(require.resolve('@huggingface/transformers')).href)

const size = 5
const dims = [2, 3, size]
const float16 = numbers => quantizeEmbeddings(numbers, size, { precision: 'float16' })
const bitsOf = ({ data }) => [...new Uint16Array(data.buffer, data.byteOffset, data.length)].join()
const numbers = Float32Array.from({ length: 2 * 3 * size }, (_, i) => (i % 7) - i / 8)
const cast = to => [{ op: 'Cast', inputs: ['x'], outputs: ['y'], attributes: [['to', to]] }]
const create = (nodes, x, y) => onnxruntime.InferenceSession.create(onnxModel(nodes, dims, {}, [], 0, { x, y }))
const [narrowing, widening] = [
  await create(cast(10), 'float32', 'float16'),
  await create(cast(1), 'float16', 'float32')
]

const seen = {}
const { y } = await narrowing.run({ x: new onnxruntime.Tensor('float32', numbers, dims) })
const expected = layerNorm(numbers, size)
for (const [name, Class, x] of [
  ['onnxruntime', onnxruntime.Tensor, y],
  ['transformers', transformers.Tensor, new transformers.Tensor('float16', y.data, [...y.dims])]
]) {
  const results = [layerNorm(x, size), await new LayerNorm(size).forwardAsync(x)]
  seen[name] = {
    array: x.data.constructor.name,
    class: results.every(z => z.constructor === x.constructor && z instanceof Class),
    like: results.every(z => z.type === 'float16' && z.data.constructor === x.data.constructor),
    dims: results[0].dims,
    bits: results.every(z => bitsOf(z) === bitsOf({ data: float16(expected) })),
    embeddings: poolEmbeddings(x).dims
  }
}
if (!globalThis.Float16Array) {
  const wide = await widening.run({ x: layerNorm(y, size) })
  seen.again = bitsOf({ data: float16(wide.y.data) }) === bitsOf({ data: float16(expected) })
}
console.log(JSON.stringify(seen))
