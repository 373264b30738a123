// What messages say to somebody who comes from PyTorch, onnxruntime or plain arrays: the whole end of each message.
import { describe, expect, it } from 'vitest'
import {
  BatchNorm,
  batchNorm,
  dequantizeEmbeddings,
  EmbeddingPooler,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  layerNorm,
  localResponseNorm,
  normalize,
  poolEmbeddings,
  quantizeEmbeddings,
  RMSNorm,
  rmsNorm
} from '../../dist/esm/index.js'
import { message } from '../support/message.ts'

const array = new Float32Array(8)
const tensor = { data: array, dims: [1, 2, 4] }
const bytes = Buffer.from(new ArrayBuffer(40), 4, 32)
const odd = Buffer.from(new ArrayBuffer(40), 3, 32)

const secretive = {
  get data() {
    throw new Error('mine')
  }
}

/** What is passed in the place of x: the value, and what the message says it got. */
const operands: [value: unknown, got: string][] = [
  [[1, 2, 3, 4], '[1, 2, 3, 4]; Float32Array.from(x)'],
  [Array(768).fill(0), 'an array of 768; Float32Array.from(x)'],
  [
    [
      [1, 2],
      [3, 4]
    ],
    'an array of 2; Float32Array.from(x.flat(Infinity))'
  ],
  [new Float64Array(4), 'Float64Array; Float32Array.from(x)'],
  [new Int32Array(4), 'Int32Array; Float32Array.from(x)'],
  [new BigInt64Array(4), 'BigInt64Array; Float32Array.from(x, Number)'],
  [
    new Uint16Array(4),
    "Uint16Array; pass { dtype: 'float16' } (or 'bfloat16') if these are the bits of such numbers, else Float32Array.from(x)"
  ],
  [bytes, 'Uint8Array; new Float32Array(x.buffer, x.byteOffset, x.byteLength / 4) if these are the bytes of float32'],
  [odd, 'Uint8Array; new Float32Array(Uint8Array.from(x).buffer) if these are the bytes of float32'],
  [bytes.subarray(1, 4), 'Uint8Array'],
  [new Uint8Array(3), 'Uint8Array; Float32Array.from(x)'],
  [
    new Uint8Array(4),
    'Uint8Array; Float32Array.from(x), or new Float32Array(x.buffer, x.byteOffset, x.byteLength / 4) if these are the bytes ' +
      'of float32'
  ],
  [new ArrayBuffer(16), 'an object of class ArrayBuffer; new Float32Array(x)'],
  [new SharedArrayBuffer(16), 'an object of class SharedArrayBuffer; new Float32Array(x)'],
  [{ data: array, shape: [2, 4] }, 'an object; it has shape, expected dims: { data: x.data, dims: x.shape }'],
  [{ data() {}, shape: [2, 4] }, 'an object; it has shape, expected dims: { data: await x.data(), dims: x.shape }'],
  [{ data: array }, 'an object; it has no dims: { data: x.data, dims: [rows, columns] }'],
  [Promise.resolve(tensor), 'an object of class Promise; await x'],
  [
    { last_hidden_state: tensor, pooler_output: tensor, n: 1 },
    'an object; its tensors are last_hidden_state, pooler_output: pass one of them, x.last_hidden_state'
  ],
  [{ 'a\u001b.1': tensor }, 'an object; its tensors are "a\\u001b.1": pass one of them, x["a\\u001b.1"]'],
  [
    Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`t${i}`, tensor])),
    'an object; its tensors are t0, t1, t2, t3, …: pass one of them, x.t0'
  ],
  // No hint where there is none, or where looking for one throws.
  [undefined, 'undefined'],
  [null, 'null'],
  [7, '7'],
  [{ a: 1 }, 'an object'],
  [secretive, 'an object']
]

describe('behaviour: what messages say to do', () => {
  it.each(operands.map(([value, got]) => [got, value] as const))('where x is %s', (got, value) => {
    const expected = 'x expected Float32Array or a tensor { data, dims }, got '
    if (!ArrayBuffer.isView(value)) {
      expect(message(() => layerNorm(value as never, 4))).toBe(`layerNorm: ${expected}${got}`)
      expect(message(() => poolEmbeddings(value as never))).toBe(
        `poolEmbeddings: x expected a tensor { data, dims }, got ${got}`
      )
    } else expect(message(() => layerNorm(value as never, 4))).toBe(`layerNorm: x expected Float32Array, got ${got}`)
  })

  const calls: [what: string, call: () => unknown, end: string | RegExp][] = [
    [
      'weight',
      () => layerNorm(array, 4, { weight: [1, 1, 1, 1] as never }),
      'got [1, 1, 1, 1]; Float32Array.from(weight)'
    ],
    [
      'x.data',
      () => layerNorm({ data: [1], dims: [1] }, 1),
      'x.data expected Float32Array, got [1]; Float32Array.from(x.data)'
    ],
    [
      'statistics',
      () => batchNorm(tensor, { runningMean: [0, 0] as never, runningVar: array }),
      'got [0, 0]; Float32Array.from(runningMean)'
    ],
    [
      'a type',
      () => layerNorm({ type: 'int64', data: new BigInt64Array(4), dims: [4] }, 4),
      'x.type expected float32, float16 or bfloat16, got int64; { data: Float32Array.from(x.data, Number), dims: x.dims }'
    ],
    [
      'bits in a tensor',
      () => layerNorm({ data: new Uint16Array(4), dims: [4] }, 4),
      "x.data expected Float32Array, got Uint16Array; { type: 'float16', data: x.data, dims: x.dims } (or 'bfloat16')"
    ],
    [
      'bits of a type that is none',
      () => layerNorm({ type: 'uint16', data: new Uint16Array(4), dims: [4] }, 4),
      "got uint16; { data: dequantizeEmbeddings(x.data, length, { precision: 'float16' }) (or 'bfloat16'), dims: x.dims }"
    ],
    [
      'an array over channels',
      () => batchNorm(array as never),
      'got Float32Array; give it its shape, { data: x, dims: [N, C, ...] }'
    ],
    [
      'an array with axis',
      () => layerNorm(array as never, { axis: 0 }),
      'got Float32Array; give it its shape, { data: x, dims: [...] }'
    ],
    [
      'an array with lengths',
      () => layerNorm(array, 4, { lengths: [1] }),
      'got Float32Array; give it its shape, { data: x, dims: [N, L, C] }'
    ],
    [
      'an array to pool',
      () => new EmbeddingPooler(4).forward(array),
      'got Float32Array; give it its shape, { data: x, dims: [N, L, C] }'
    ],
    [
      'no shape',
      () => layerNorm(array, undefined as never),
      'got undefined; it is the number of elements of a row, as 768'
    ],
    ['a negative shape', () => layerNorm(tensor, -1), 'got -1; for an axis { axis: -1 }'],
    ['a negative shape of a layer', () => new LayerNorm(-1), 'got -1'],
    ['dim', () => layerNorm(tensor, { dim: -1 } as never), 'got an object; dim is called axis: { axis: -1 }'],
    [
      'axes',
      () => normalize(tensor, { axes: [1, 2] } as never),
      'got an object; axes is called axis: { axis: [1, 2] }'
    ],
    ['options too early', () => rmsNorm(array, { eps: 0 } as never), 'got an object; the options come after it'],
    ['gamma', () => layerNorm(array, 4, { gamma: array } as never), 'got "gamma"; here it is called weight'],
    ['beta', () => new GroupNorm(2, 4, { beta: array } as never), 'got "beta"; here it is called bias'],
    ['epsilon', () => new BatchNorm(4, { epsilon: 1 } as never), 'got "epsilon"; here it is called eps'],
    ['scale', () => rmsNorm(array, 4, { scale: array } as never), 'got "scale"; here it is called weight'],
    ['attention_mask', () => poolEmbeddings(tensor, { attention_mask: [] } as never), 'here it is called mask'],
    ['data_format', () => localResponseNorm(tensor, 3, { data_format: 'NCHW' } as never), 'here it is called layout'],
    ['inplace', () => layerNorm(array, 4, { inplace: true } as never), 'got "inplace"; to write over x pass out: x'],
    ['inPlace', () => batchNorm(tensor, { inPlace: true } as never), 'got "inPlace"; to write over x pass out: x'],
    [
      'dim among options',
      () => layerNorm(tensor, 4, { dim: 1 } as never),
      'it stands in the place of normalizedShape, as { axis: -1 }'
    ],
    ['axis among options', () => normalize(tensor, 4, { axis: 1 } as never), 'as { axis: -1 }'],
    // No alias: the names as they are, with no "nearest" where nothing is near.
    [
      'momentum',
      () => layerNorm(array, 4, { momentum: 1 } as never),
      /^layerNorm: option expected one of [\w, ]+, got "momentum"$/
    ],
    ['a near name', () => layerNorm(array, 4, { wieght: array } as never), /\(nearest: weight\), got "wieght"$/],
    ['a name of a prototype', () => layerNorm(array, 4, { toString: 1 } as never), /^[\w: ,]+, got "toString"$/],
    [
      "PyTorch's order",
      () => (layerNorm as (...args: unknown[]) => unknown)(array, [4], array, array, 1e-5),
      'layerNorm: options expected an object, got Float32Array; options go by name: { weight, bias, eps, … }'
    ],
    [
      'tensors in that order',
      () => layerNorm(tensor, 4, { type: 'float32', data: array, dims: [8] } as never),
      'layerNorm: options expected an object, got an object; options go by name: { weight, bias, eps, … }'
    ],
    ['eps alone', () => new LayerNorm(4, 1e-5 as never), 'got 0.00001; options go by name: { weight, bias, eps }'],
    [
      'None',
      () => layerNorm(array, 4, null as never),
      'options expected an object, got null; options go by name: { weight, bias, eps, … }'
    ],
    [
      'None of a layer',
      () => new BatchNorm(4, null as never),
      /got null; options go by name: \{ weight, bias, .*… \}$/
    ],
    [
      'a weight of None',
      () => layerNorm(array, 4, { weight: null as never }),
      'got null; leave weight out where there is none'
    ],
    [
      'bias=False',
      () => new GroupNorm(2, 4, { bias: false as never }),
      'got false; leave bias out where there is none'
    ],
    [
      'bias=True',
      () => new InstanceNorm(4, { bias: true as never }),
      'got true; pass its numbers: new Float32Array(n)'
    ],
    [
      'a flag for the weight',
      () => new RMSNorm(4, { weight: true as never }),
      'pass its numbers: new Float32Array(n).fill(1)'
    ],
    [
      'a flag for an array of statistics',
      () => layerNorm(array, 4, { mean: true as never }),
      'or Float64Array, got true'
    ],
    [
      'elementwise_affine',
      () => new LayerNorm(4, { elementwise_affine: false } as never),
      'got "elementwise_affine"; leave weight and bias out for none, or pass ones and zeros to begin with'
    ],
    [
      'the same of RMSNorm',
      () => new RMSNorm(4, { elementwiseAffine: true } as never),
      'got "elementwiseAffine"; leave weight out for none, or pass ones to begin with'
    ],
    [
      'affine',
      () => new BatchNorm(4, { affine: false } as never),
      'got "affine"; leave weight and bias out for none, or pass ones and zeros to begin with'
    ],
    ['affine where no weights are', () => normalize(array, 4, { affine: true } as never), /, got "affine"$/],
    [
      'track_running_stats',
      () => new BatchNorm(4, { track_running_stats: false } as never),
      /\(nearest: trackRunningStats\), got "/
    ],
    [
      'the start of a name',
      () => quantizeEmbeddings(array, 8, { prec: 'int8' } as never),
      /\(nearest: precision\), got "prec"$/
    ],
    ['the start of two', () => poolEmbeddings(tensor, { pool: 'cls' } as never), /\w, got "pool"$/],
    ['output', () => layerNorm(array, 4, { output: array } as never), 'got "output"; here it is called out'],
    [
      'dtype',
      () => dequantizeEmbeddings(array, 8, { dtype: 'int8' } as never),
      'got "dtype"; here it is called precision'
    ],
    [
      'a nested mask',
      () => poolEmbeddings(tensor, { mask: [[1, 1]] as never }),
      'mask.length expected 2 (samples * positions), got 1; pass mask.flat(Infinity)'
    ],
    [
      'a mask of typed rows',
      () => layerNorm(tensor, 4, { mask: [Uint8Array.of(1, 1)] as never }),
      'got 1; pass mask.flatMap(row => Array.from(row))'
    ],
    [
      'as many rows as flags',
      () => poolEmbeddings({ data: array, dims: [2, 1, 4] }, { mask: [[1], [0]] as never }),
      'mask[0] expected 0, 1 or a boolean, got [1]; pass mask.flat(Infinity)'
    ],
    [
      'a nested list of lengths',
      () => batchNorm({ data: array, dims: [2, 1, 4] }, { layout: 'channels-last', lengths: [[1, 1]] as never }),
      'got 1; pass lengths.flat(Infinity)'
    ],
    [
      'too few flags',
      () => poolEmbeddings(tensor, { mask: [1] }),
      'mask.length expected 2 (samples * positions), got 1'
    ],
    [
      'rows of other channels',
      () => new EmbeddingPooler(3).forward(tensor),
      'EmbeddingPooler: x.dims expected [..., 3] (channels), got [1, 2, 4]'
    ],
    [
      'rows of other dimensions',
      () => quantizeEmbeddings(tensor, 3),
      'x.dims expected [..., 3] (dimensions), got [1, 2, 4]'
    ],
    [
      'rows of other bits',
      () => dequantizeEmbeddings(new Uint8Array(3), 9, { precision: 'ubinary' }),
      'x.length expected a multiple of 2 (ceil(dimensions / 8)), got 3'
    ],
    [
      'codes without their precision',
      () => dequantizeEmbeddings(new Int8Array(4), 4),
      "x expected Float32Array (precision float32), got Int8Array; pass its precision: { precision: 'int8', scale } or { precision: 'binary' }"
    ],
    [
      'half precision without it',
      () => dequantizeEmbeddings(new Uint16Array(4), 4),
      "got Uint16Array; pass its precision: { precision: 'float16' } or { precision: 'bfloat16' }"
    ],
    [
      'a place for codes without it',
      () => quantizeEmbeddings(array, 8, { out: new Uint8Array(8) }),
      "got Uint8Array; pass its precision: { precision: 'uint8', scale } or { precision: 'ubinary' }"
    ],
    [
      'a tensor of codes without it',
      () => dequantizeEmbeddings({ type: 'uint8', data: new Uint8Array(4), dims: [1, 4] }, 4),
      "x.type expected float32, got uint8; pass its precision: { precision: 'uint8', scale } or { precision: 'ubinary' }"
    ],
    [
      'codes as bytes of a database',
      () => dequantizeEmbeddings(bytes as never, 4, { precision: 'int8', scale: 'unit' }),
      'got Uint8Array; new Int8Array(x.buffer, x.byteOffset, x.byteLength) if these are its bytes'
    ],
    [
      'codes as a list',
      () => dequantizeEmbeddings([1, 2] as never, 2, { precision: 'int8', scale: 'unit' }),
      'x expected Int8Array (precision int8), got [1, 2]; Int8Array.from(x)'
    ],
    [
      'codes as rows',
      () => dequantizeEmbeddings([[1, 2]] as never, 2, { precision: 'ubinary' }),
      'got an array of 1; Uint8Array.from(x.flat(Infinity))'
    ],
    [
      'halves as a list',
      () => dequantizeEmbeddings([1, 2] as never, 2, { precision: 'bfloat16' }),
      'Uint16Array (precision bfloat16), got [1, 2]'
    ],
    [
      'what are no codes',
      () => dequantizeEmbeddings(7 as never, 2),
      'x expected Float32Array (precision float32), got 7'
    ],
    [
      'an additive mask',
      () => poolEmbeddings(tensor, { mask: [0, Number.NEGATIVE_INFINITY] }),
      'got -Infinity; of a mask that is added to scores (0 is real) pass Array.from(mask, value => value === 0)'
    ],
    [
      'the same of finite numbers',
      () => layerNorm(tensor, 4, { mask: Float32Array.of(0, -1e4) }),
      /got -10000; of a mask that is/
    ],
    ['another number', () => layerNorm(tensor, 4, { mask: [0, 0.5] }), 'expected 0, 1 or a boolean, got 0.5']
  ]
  it.each(calls)('%s', (_, call, end) => {
    const text = message(call)
    if (typeof end === 'string') expect(text.slice(-end.length)).toBe(end)
    else expect(text).toMatch(end)
  })

  it('the hints work', () => {
    const x = bytes
    expect(new Float32Array(x.buffer, x.byteOffset, x.byteLength / 4)).toEqual(array)
    expect(new Float32Array(Uint8Array.from(odd).buffer)).toEqual(array)
    expect(Array.from([0, Number.NEGATIVE_INFINITY], value => value === 0)).toEqual([true, false])
  })
})
