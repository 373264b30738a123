// What evenkeel apply reads of .npy files: orders, types, and words about those that it does not read. In this process, by the
// function that the command line calls.
import { readdirSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { apply } from '../../dist/esm/cli/apply.js'
import { embed } from '../../dist/esm/cli/embed.js'
import { batchNorm, layerNorm, poolEmbeddings } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { npyFolder } from '../support/npy_folder.ts'
import { shell } from '../support/process.ts'

const { at, save, saveTyped, saveAs, read, load } = npyFolder()

const warnings: string[] = []
beforeEach(() => {
  warnings.length = 0
  vi.spyOn(console, 'log').mockImplementation(() => {})
  vi.spyOn(console, 'error').mockImplementation(line => void warnings.push(line))
})
afterEach(() => vi.restoreAllMocks())

const bytesOf = (data: NodeJS.TypedArray) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
const tuple = (dims: readonly number[]) => `(${dims.join(', ')}${dims.length === 1 ? ',' : ''})`
const dictionary = (descr: string, dims: readonly number[], order = 'False') =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${tuple(dims)}, }\n`

/** The same matrix column by column. */
function columnsOf<Data extends Float32Array | Uint8Array>(data: Data, rows: number, columns: number): Data {
  const copy = data.slice() as Data
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) copy[c * rows + r] = data[r * columns + c]
  return copy
}

const run = (args: string[]) => apply.run([...args, '-o', at('y.npy'), '--force'])
const failure = async (args: string[]) => ((await run(args).catch(error => error)) as Error).message

describe('equality: the order of .npy files', () => {
  it('of one dimension, one row or one column is the same either way', async () => {
    const x = fill(normal, 12, 1)
    for (const dims of [[12], [1, 12], [12, 1], [1, 12, 1], [1, 1, 1, 12]]) {
      const input = saveAs('f.npy', 1, dictionary("'<f4'", dims, 'True'), bytesOf(x))
      await run(['layer-norm', input])
      expectSameBits(load('y.npy'), layerNorm(x, dims.at(-1) as number), tuple(dims))
      expect(read('y.npy').header).toBe(dictionary("'<f4'", dims).trim())
    }
    await run([
      'layer-norm',
      saveAs('f.npy', 1, dictionary("'<f4'", [3, 0, 4, 2, 2], 'True'), new Uint8Array(0)),
      '--axis',
      '-1'
    ])
    expect(load('y.npy').length).toBe(0)
  })

  it('of two dimensions may be Fortran, in several blocks, from a pipe, and of what stands beside the input', async () => {
    const x = fill(normal, 1500 * 768, 2)
    const input = saveAs('f.npy', 1, dictionary("'<f4'", [1500, 768], 'True'), bytesOf(columnsOf(x, 1500, 768)))
    const residual = saveAs('r.npy', 1, dictionary("'<f4'", [1500, 768], 'True'), bytesOf(columnsOf(x, 1500, 768)))
    await run(['layer-norm', input, '--residual', residual])
    expectSameBits(load('y.npy'), layerNorm(x, 768, { residual: x }), 'residual')
    await run(['layer-norm', input, '--rows', '1000:1002'])
    expectSameBits(load('y.npy'), layerNorm(x.slice(1000 * 768, 1002 * 768), 768), 'rows')
    expect(shell(`cat ${input} | evenkeel apply layer-norm - -o ${at('p.npy')}`).stderr).toBe('')
    expectSameBits(load('p.npy'), layerNorm(x, 768), 'pipe')

    const hidden = { data: fill(normal, 2 * 3 * 4, 3), dims: [2, 3, 4] }
    const flags = Uint8Array.of(1, 1, 0, 1, 0, 1)
    const mask = saveAs('m.npy', 1, dictionary("'|b1'", [2, 3], 'True'), columnsOf(flags, 2, 3))
    const pooled = poolEmbeddings(hidden, { mask: Array.from(flags) })
    await embed.run([save('h.npy', hidden.data, hidden.dims), '-o', at('y.npy'), '--force', '--mask', mask])
    expectSameBits(load('y.npy'), pooled.data as Float32Array, 'mask')
  })

  it('of more dimensions must be C: a message', async () => {
    const input = saveAs('f.npy', 1, dictionary("'<f4'", [2, 1, 2, 2], 'True'), new Uint8Array(32))
    expect(await failure(['layer-norm', input])).toBe(
      `${input}: order expected C, or two dimensions, got Fortran of shape (2, 1, 2, 2); save numpy.ascontiguousarray(a)`
    )
  })

  it('of a matrix that ends too soon: a message', async () => {
    const text = dictionary("'<f4'", [2, 4], 'True')
    const cut = saveAs('f.npy', 1, text, new Uint8Array(28))
    expect(await failure(['layer-norm', cut])).toBe(`${cut}: data expected 32 bytes, got 28`)
    const piped = shell(`cat ${cut} | evenkeel apply layer-norm - -o ${at('p2.npy')}`)
    expect(piped.stderr).toContain('evenkeel: standard input: data expected 32 bytes, got 28')
  })
})

describe('equality: the types of .npy files', () => {
  const dims = [2, 3, 4]
  const x = { data: fill(normal, 24, 4), dims }
  const flags = [1, 1, 0, 1, 0, 0]
  const counts = [2, 1]
  const expected = layerNorm(x, 4, { mask: flags })
  const integers: [dtype: string, make: { from(values: readonly number[]): NodeJS.TypedArray }][] = [
    ['|u1', Uint8Array],
    ['|i1', Int8Array],
    ['<u2', Uint16Array],
    ['<i2', Int16Array],
    ['<u4', Uint32Array],
    ['<i4', Int32Array],
    ['<u8', { from: values => BigUint64Array.from(values, BigInt) }],
    ['<i8', { from: values => BigInt64Array.from(values, BigInt) }]
  ]
  it.each(integers)('%s for masks and lengths', async (dtype, make) => {
    const input = save('x.npy', x.data, dims)
    await run(['layer-norm', input, '--mask', saveTyped('m.npy', dtype, make.from(flags), [2, 3])])
    expectSameBits(load('y.npy'), expected.data, 'mask')
    await run(['layer-norm', input, '--lengths', saveTyped('l.npy', dtype, make.from(counts), [2])])
    expectSameBits(load('y.npy'), expected.data, 'lengths')
  })

  it.each([
    ['|b1', Uint8Array],
    ['<f4', Float32Array]
  ] as const)('%s for masks', async (dtype, make) => {
    const mask = saveTyped('m.npy', dtype, make.from(flags), [2, 3])
    await run(['layer-norm', save('x.npy', x.data, dims), '--mask', mask])
    expectSameBits(load('y.npy'), expected.data, 'mask')
  })

  it('<f8 for running statistics', async () => {
    const [mean, variance] = [Float64Array.of(0.1, 0.2, 0.3), Float64Array.of(1, 2, 1 / 3)]
    const files = [saveTyped('rm.npy', '<f8', mean, [3]), saveTyped('rv.npy', '<f8', variance, [3])]
    const input = save('x.npy', x.data, dims)
    await run(['batch-norm', input, '--running-mean', files[0], '--running-var', files[1]])
    expectSameBits(load('y.npy'), batchNorm(x, { runningMean: mean, runningVar: variance }).data, 'statistics')
  })
})

describe('behaviour: what is said of other files', () => {
  const types: [descr: string, end: string][] = [
    ["'>f4'", "'>f4' (float32, big-endian); save a.astype('<f4')"],
    ["'<f8'", "'<f8' (float64); save a.astype('<f4')"],
    ["'>f8'", "'>f8' (float64, big-endian); save a.astype('<f4')"],
    ["'>f2'", "'>f2' (float16, big-endian); save a.astype('<f2')"],
    [
      "'<u2'",
      "'<u2' (uint16); save a.astype('<f4'), or pass --dtype float16 (or bfloat16) if these are the bits of such numbers"
    ],
    ["'>u2'", "'>u2' (uint16, big-endian); save a.astype('<f4')"],
    ["'<i8'", "'<i8' (int64); save a.astype('<f4')"],
    ["'>i4'", "'>i4' (int32, big-endian); save a.astype('<f4')"],
    ["'|u1'", "'|u1' (uint8); save a.astype('<f4')"],
    ["'|b1'", "'|b1' (bool); save a.astype('<f4')"],
    ["'<c8'", "'<c8' (complex64); save a.astype('<f4')"],
    ["'|O'", "'|O' (Python objects); save an array of numbers"],
    ["'<U5'", "'<U5' (text); save numbers, a.astype('<f4')"],
    ["'<M8[s]'", "'<M8[s]' (dates); save numbers, a.astype('<f4')"],
    ["'>V2'", "'>V2' (raw bytes, big-endian, perhaps bfloat16); save a.astype('<f4')"],
    ["'|V4'", "'|V4' (raw bytes); save a.astype('<f4')"],
    [
      "[('vector', '<f4'), ('id', '<i4')]",
      "[('vector', '<f4'), ('id', '<i4')] (structured); save one field, a['vector'].astype('<f4')"
    ],
    ["'odd'", "'odd'"]
  ]
  it.each(types)('of type %s', async (descr, end) => {
    const input = saveAs('t.npy', 1, dictionary(descr, [1, 4]))
    expect(await failure(['layer-norm', input])).toBe(
      `${input}: dtype expected little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2'), got ${end}`
    )
  })

  it('where a mask, lengths or statistics have another type', async () => {
    const input = save('x.npy', new Float32Array(24), [2, 3, 4])
    const wide = saveAs('w.npy', 1, dictionary("'<f8'", [2, 3]))
    expect(await failure(['layer-norm', input, '--mask', wide])).toContain(
      "dtype expected bool, integers or float32 ('<f4'), got '<f8' (float64); save a.astype('bool')"
    )
    expect(await failure(['layer-norm', input, '--lengths', wide])).toContain(
      "dtype expected integers, got '<f8' (float64); save a.astype('<i8')"
    )
    const half = saveAs('w.npy', 1, dictionary("'<f2'", [3]))
    expect(await failure(['batch-norm', input, '--running-mean', half, '--running-var', half])).toContain(
      "dtype expected float32 or float64 ('<f4', '<f8'), got '<f2' (float16); save a.astype('<f8')"
    )
  })

  const starts: [start: string, what: string][] = [
    [
      'PK\x03\x04\x14\x00\x00\x00',
      "an archive (.npz): save one of its arrays, np.save('x.npy', np.load('x.npz')['name'])"
    ],
    ['PK\x05\x06\x00\x00\x00\x00', 'an empty archive (.npz)'],
    ['\x1f\x8b\x08\x00\x00\x00\x00\x00', 'gzip: decompress it first'],
    ['\x89HDF\r\n\x1a\n', 'HDF5: np.save one of its data sets'],
    ['PAR1\x15\x04\x15\x10', 'Parquet: np.save its numbers'],
    ['\x80\x04\x95\x10\x00\x00\x00\x00', 'a Python pickle: np.save its array'],
    ['1.5,2.5\n3', 'something else'],
    ['', 'an empty file']
  ]
  it.each(starts)('that begin with %j', async (start, what) => {
    writeFileSync(at('o.npy'), Buffer.from(start, 'latin1'))
    expect(await failure(['layer-norm', at('o.npy')])).toBe(`${at('o.npy')}: format expected .npy, got ${what}`)
  })

  it('with bytes after the array: a warning that names them, once', async () => {
    const x = fill(normal, 4, 5)
    const input = saveAs('long.npy', 1, dictionary("'<f4'", [1, 4]), Buffer.concat([bytesOf(x), Buffer.alloc(9)]))
    await run(['layer-norm', input, '--residual', input])
    expectSameBits(load('y.npy'), layerNorm(x, 4, { residual: x }), 'y')
    expect(warnings).toEqual([
      `evenkeel: warning: ${input}: 9 bytes after the array are not read (several arrays? save one in a file)`
    ])
    expect(readdirSync(at('')).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})
