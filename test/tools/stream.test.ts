// evenkeel/stream: rows through a Transform of Node.js.
import { Readable, type Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import type { Dtype } from '../../dist/esm/call/elements.js'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { layerNorm, normalize, quantizeEmbeddings, rmsNorm } from '../../dist/esm/index.js'
import { layerNormStream, normalizeStream, type RowStreamOptions, rmsNormStream } from '../../dist/esm/stream/index.js'
import { expectSameBits } from '../support/bits.ts'
import { run } from '../support/process.ts'

const [rows, size] = [50, 12]
const x = fill(normal, rows * size, 1)
const weight = fill(ordinaryWeights, size, 2)
const bias = fill(normal, size, 3)
const bytes = Buffer.from(x.buffer)

type Make = (stream?: RowStreamOptions) => Transform
const streams: [name: string, make: Make, expected: Float32Array][] = [
  [
    'layerNormStream',
    s => layerNormStream(size, { weight, bias, eps: 1e-3 }, s),
    layerNorm(x, size, { weight, bias, eps: 1e-3 })
  ],
  ['layerNormStream of a shape', s => layerNormStream([3, 4], {}, s), layerNorm(x, size)],
  [
    'rmsNormStream',
    s => rmsNormStream(size, { weight, weightOffset: 1, partial: 0.5 }, s),
    rmsNorm(x, size, { weight, weightOffset: 1, partial: 0.5 })
  ],
  ['normalizeStream', s => normalizeStream(size, { p: 1, scale: 2 }, s), normalize(x, size, { p: 1, scale: 2 })]
]

/** All that comes out. */
async function bytesThrough(stream: Transform, chunks: Iterable<unknown>): Promise<Buffer> {
  const out: Buffer[] = []
  for await (const chunk of Readable.from(chunks).pipe(stream)) {
    out.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  }
  return Buffer.concat(out)
}
const through = async (stream: Transform, chunks: Iterable<unknown>) =>
  new Float32Array(Uint8Array.from(await bytesThrough(stream, chunks)).buffer)

/** Cut after so many bytes, again and again. */
function* cut(all: Buffer, lengths: readonly number[]) {
  for (let at = 0, i = 0; at < all.length; at += lengths[i++ % lengths.length]) {
    yield all.subarray(at, at + lengths[i % lengths.length])
  }
}

describe('equality: streams of rows', () => {
  it.each(streams)('%s gives the bits of the function, wherever chunks end', async (_, make, expected) => {
    for (const lengths of [[bytes.length], [48], [1], [5, 100, 3], [47, 49], [480, 7], [4, 44, 1]]) {
      expectSameBits(await through(make(), cut(bytes, lengths)), expected, lengths.join())
    }
    expectSameBits(await through(make(), []), new Float32Array(0), 'nothing')
  })

  it('takes and gives Float32Arrays, and leaves the chunks as they are', async () => {
    const copy = x.slice()
    const chunks = [
      x.subarray(0, 30),
      x.subarray(30, 31),
      x.subarray(31, 31),
      new Uint8Array(bytes.subarray(124)),
      x.subarray(0, 0)
    ]
    const stream = layerNormStream(size, {}, { output: 'arrays' })
    const out: Float32Array[] = []
    for await (const y of Readable.from(chunks).pipe(stream)) out.push(y)
    expect(out.every(y => y instanceof Float32Array && y.length % size === 0 && y.length > 0)).toBe(true)
    expectSameBits(Float32Array.from(out.flatMap(y => [...y])), layerNorm(x, size), 'arrays')
    expectSameBits(x, copy, 'chunks')
  })

  it('takes bytes of any place in memory, and of a SharedArrayBuffer', async () => {
    const odd = new Uint8Array(bytes.length + 3).subarray(3)
    odd.set(bytes)
    const shared = new Float32Array(new SharedArrayBuffer(x.byteLength))
    shared.set(x)
    for (const chunk of [odd, shared])
      expectSameBits(await through(layerNormStream(size), [chunk]), layerNorm(x, size), 'y')
  })
})

describe('equality: streams of rows of 16 bits', () => {
  const { Float16Array } = globalThis as { Float16Array?: typeof Uint16Array }
  const bitsOf = (dtype: Dtype) => {
    const rounded = quantizeEmbeddings(x, x.length, { precision: dtype })
    return new Uint16Array(rounded.buffer as ArrayBuffer, rounded.byteOffset, x.length)
  }

  it.each(['float16', 'bfloat16'] as const)('%s gives the bits of the function, wherever chunks end', async dtype => {
    const data = bitsOf(dtype)
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const made: [Transform, Uint16Array][] = [
      [
        layerNormStream(size, { weight, bias }, { dtype }),
        layerNorm(data, size, { weight, bias, dtype }) as Uint16Array
      ],
      [rmsNormStream(size, {}, { dtype }), rmsNorm(data, size, { dtype }) as Uint16Array],
      [normalizeStream(size, {}, { dtype }), normalize(data, size, { dtype }) as Uint16Array]
    ]
    for (const [i, [stream, expected]] of made.entries()) {
      const got = await bytesThrough(stream, cut(bytes, [[bytes.length], [1], [5, 100, 3, 24]][i]))
      expect(got.equals(Buffer.from(expected.buffer, expected.byteOffset, expected.byteLength)), `${i}`).toBe(true)
    }
  })

  it('takes and gives arrays of bits, and Float16Arrays where there are such', async () => {
    const data = bitsOf('float16')
    const kinds = Float16Array ? [Uint16Array, Float16Array] : [Uint16Array]
    for (const Kind of kinds) {
      const chunk = new Kind(data.buffer, data.byteOffset, data.length)
      const chunks = [chunk.subarray(0, 30), chunk.subarray(30, 31), chunk.subarray(31)]
      const stream = layerNormStream(size, {}, { output: 'arrays', dtype: 'float16' })
      const out = await Readable.from(chunks).pipe(stream).toArray()
      expect(out.every(y => y instanceof Kind && y.length % size === 0)).toBe(true)
      const got = Buffer.concat(out.map(y => Buffer.from(y.buffer, y.byteOffset, y.byteLength)))
      const expected = layerNorm(data, size, { dtype: 'float16' }) as Uint16Array
      expect(got.equals(Buffer.from(expected.buffer, expected.byteOffset, expected.byteLength))).toBe(true)
    }
  })
})

describe('behaviour: streams of rows', () => {
  it('make the writer wait for a slow reader', async () => {
    for (const output of ['bytes', 'arrays'] as const) {
      let [made, taken, most] = [0, 0, 0]
      const large = new Float32Array(size * 2000)
      const source = new Readable({
        objectMode: true,
        highWaterMark: 1,
        read() {
          this.push(made++ < 60 ? large : null)
          most = Math.max(most, made - taken)
        }
      })
      const slow = new Writable({
        objectMode: true,
        highWaterMark: 1,
        write(_chunk, _encoding, done) {
          taken++
          setImmediate(done)
        }
      })
      await pipeline(source, layerNormStream(size, {}, { output, highWaterMark: 2 }), slow)
      expect(taken).toBe(60)
      expect(most, output).toBeLessThan(12)
    }
  })

  const failure = async (chunks: unknown[]) =>
    (await through(layerNormStream(size), chunks).catch(error => error)) as Error

  it('fail where the last row is not whole, after all that are', async () => {
    const stream = layerNormStream(size)
    let got = 0
    stream.on('data', chunk => {
      got += chunk.length
    })
    const failed = pipeline(Readable.from(cut(bytes.subarray(0, 100), [7])), stream)
    await expect(failed).rejects.toThrow(
      new RangeError('layerNormStream: bytes expected whole rows of 48 bytes, got 4 of 48 bytes at the end')
    )
    expect(got).toBe(96)
  })

  it('fail for chunks that are neither bytes nor Float32Arrays', async () => {
    const expected = 'layerNormStream: chunk expected Buffer, Uint8Array or Float32Array, got'
    for (const [chunk, got] of [
      ['text', '"text"'],
      [[1, 2], '[1, 2]; Float32Array.from(chunk)'],
      [new Float64Array(12), 'Float64Array; Float32Array.from(chunk)'],
      [{ data: x, dims: [1] }, 'an object; pass chunk.data']
    ] as const) {
      const error = await failure([chunk])
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toBe(`${expected} ${got}`)
    }
  })

  it('fail for chunks of another type, and say what names it', async () => {
    const failure16 = async (chunk: unknown, dtype?: Dtype) =>
      (await bytesThrough(layerNormStream(size, {}, dtype && { dtype }), [chunk]).catch(error => error)).message
    const bits = new Uint16Array(12)
    expect(await failure16(bits)).toBe(
      "layerNormStream: chunk expected Buffer, Uint8Array or Float32Array, got Uint16Array; pass { dtype: 'float16' } (or 'bfloat16') if these are the bits of such numbers, else Float32Array.from(chunk)"
    )
    expect(await failure16(x, 'bfloat16')).toBe(
      'layerNormStream: chunk expected Buffer, Uint8Array or Uint16Array, got Float32Array'
    )
    expect(await failure16(x, 'float16')).toBe(
      'layerNormStream: chunk expected Buffer, Uint8Array, Uint16Array or Float16Array, got Float32Array'
    )
    const stream = layerNormStream(size, {}, { dtype: 'float16' })
    expect((await bytesThrough(stream, [new Uint16Array(13)]).catch(error => error)).message).toBe(
      'layerNormStream: bytes expected whole rows of 24 bytes, got 2 of 24 bytes at the end'
    )
    expect(() => layerNormStream(size, {}, { dtype: 'half' as never })).toThrow(
      "layerNormStream: dtype expected 'float16' or 'bfloat16', got"
    )
  })

  it('refuse what their layers refuse, and wrong options of their own', () => {
    expect(() => layerNormStream(0)).toThrow('layerNormStream: normalizedShape expected a positive integer')
    expect(() => rmsNormStream(4, { gamma: weight } as never)).toThrow('RMSNorm: option expected')
    expect(() => normalizeStream(4, {}, { output: 'floats' as never })).toThrow(
      "output expected 'bytes' or 'arrays', got \"floats\""
    )
    expect(() => normalizeStream(4, {}, { highWaterMark: 0 })).toThrow(
      'highWaterMark expected a positive integer, got 0'
    )
    expect(() => layerNormStream(4, {}, { outptu: 1 } as never)).toThrow('(nearest: output), got "outptu"')
  })

  it('are evenkeel/stream for import and require, and load no third-party module', () => {
    const { stdout } = run(`
      import { createRequire } from 'node:module'
      import * as esm from 'evenkeel/stream'
      const require = createRequire(import.meta.url)
      const cjs = require('evenkeel/stream')
      console.log(Object.keys(esm).sort().join(), Object.keys(cjs).sort().join() === Object.keys(esm).sort().join())
      console.log(Object.keys(require.cache).filter(path => path.includes('node_modules')).length)`)
    expect(stdout).toBe('layerNormStream,normalizeStream,rmsNormStream true\n0\n')
  })
})
