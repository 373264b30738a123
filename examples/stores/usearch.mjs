// usearch: an index of f32, f16, i8 and b1 numbers. Its binding for Node.js takes float32 rows, whatever the index holds
// (other typed arrays it turns into a Float32Array first), and makes the smaller numbers itself.
// node examples/stores/usearch.mjs
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import usearch from 'usearch'
import { poolEmbeddings } from '../../dist/esm/index.js'
import { ask, count, decode, hidden, mask, rows, same, table } from './sentences.mjs'

const k = 512
const full = poolEmbeddings(hidden, { mask })
const half = poolEmbeddings(hidden, { mask, precision: 'float16' })
const codes = poolEmbeddings(hidden, { mask, precision: 'int8', scale: 'unit' })
const bits = poolEmbeddings(hidden, { mask, precision: 'ubinary' })

const keys = BigUint64Array.from({ length: count }, (_, i) => BigInt(i))
function index(metric, quantization) {
  const index = new usearch.Index({ dimensions: k, metric, quantization })
  index.add(keys, full.data, 1) // one thread, which keeps the order of the rows
  return index
}

const query = rows(full.data, k)
const nearest = index => id => {
  const { keys, distances } = index.search(query[id], 5)
  return Array.from(keys, (id, rank) => ({ id, distance: distances[rank] }))
}

/** The rows as the index keeps them: its file begins with their number and their bytes, then come the rows. */
const folder = mkdtempSync(join(os.tmpdir(), 'usearch-'))
function kept(index) {
  index.save(join(folder, 'index'))
  const bytes = readFileSync(join(folder, 'index'))
  return bytes.subarray(8, 8 + bytes.readUInt32LE(0) * bytes.readUInt32LE(4))
}

const f32 = index('ip', 'f32')
const f16 = index('ip', 'f16')
const i8 = index('cos', 'i8')
const b1 = index('hamming', 'b1')

// i8 is x * 127 / norm, cut off. 'unit' rounds to the nearest, so that some codes are larger by 1 in size.
const theirs = rows(new Int8Array(kept(i8)), k)
const largest = Math.max(...codes.data.map((code, i) => Math.abs(code - theirs[Math.floor(i / k)][i % k])))

table(
  'usearch: 24 sentences',
  ['numbers', 'bytes', 'find their paraphrase', 'its rows and ours'],
  [
    [
      'f32',
      `${4 * k}`,
      await ask('f32', decode(full.data, {}), 'one minus dot', 1e-5, nearest(f32)),
      same('f32', kept(f32), full.data)
    ],
    [
      'f16',
      `${2 * k}`,
      await ask('f16', decode(half.data, { precision: 'float16' }), 'one minus dot', 1e-5, nearest(f16)),
      same('f16', kept(f16), half.data)
    ],
    ['i8', `${k}`, await ask('i8', theirs, 'cosine', 1e-5, nearest(i8)), `codes that differ by ${largest} at most`],
    [
      'b1',
      `${k / 8}`,
      await ask('b1', decode(bits.data, { precision: 'ubinary' }), 'hamming', 0, nearest(b1)),
      same('b1', kept(b1), bits.data)
    ]
  ]
)
rmSync(folder, { recursive: true })
