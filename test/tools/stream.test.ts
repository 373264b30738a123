// evenkeel/stream: rows through a Transform of Node.js.
import { Readable, type Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { layerNorm, normalize, rmsNorm } from '../../dist/esm/index.js'
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
async function through(stream: Transform, chunks: Iterable<unknown>): Promise<Float32Array> {
  const out: Buffer[] = []
  for await (const chunk of Readable.from(chunks).pipe(stream)) {
    out.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  }
  return new Float32Array(Uint8Array.from(Buffer.concat(out)).buffer)
}

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
