// sqlite-vec: embeddings in float, int8 and bit columns of a vec0 table.
// node examples/stores/sqlite_vec.mjs: @photostructure/sqlite is node:sqlite of later versions of Node.js, with its names.
import { DatabaseSync } from '@photostructure/sqlite'
import { getLoadablePath } from 'sqlite-vec'
import { poolEmbeddings } from '../../dist/esm/index.js'
import { ask, decode, hidden, mask, rows, same, sentences, table } from './sentences.mjs'

const database = new DatabaseSync(':memory:', { allowExtension: true })
database.enableLoadExtension(true)
database.loadExtension(getLoadablePath())

const k = 512
const full = poolEmbeddings(hidden, { mask })
const codes = poolEmbeddings(hidden, { mask, precision: 'int8', scale: 'row' })
const theirs = poolEmbeddings(hidden, { mask, precision: 'int8', scale: 'sqlite-vec' })
const bits = poolEmbeddings(hidden, { mask, precision: 'ubinary', bitOrder: 'lsb' })

// A row of any of them goes in as its bytes; vec_int8 and vec_bit say what they are.
database.exec(`create virtual table sentences using vec0(
  id integer primary key, text text, a float[512] distance_metric=cosine,
  b int8[512] distance_metric=cosine, c int8[512] distance_metric=cosine, d bit[512])`)
const insert = database.prepare('insert into sentences values (?, ?, ?, vec_int8(?), vec_int8(?), vec_bit(?))')
const bytes = row => new Uint8Array(row.buffer, row.byteOffset, row.byteLength)
const sent = {
  a: rows(full.data, k).map(bytes),
  b: rows(codes.data, k).map(bytes),
  c: rows(theirs.data, k).map(bytes),
  d: rows(bits.data, k / 8)
}
for (const [id, text] of sentences.entries()) {
  insert.run(BigInt(id), text, sent.a[id], sent.b[id], sent.c[id], sent.d[id])
}

/** The rows nearest to a sentence's own, by a column. */
const nearest = (column, value) => id =>
  database.prepare(`select id, distance from sentences where ${column} match ${value} and k = 5`).all(sent[column][id])

/** What sqlite-vec makes of the float32 rows by itself must be what was sent. */
function own(expression, column) {
  const made = sent.a.map(row => database.prepare(`select ${expression} as bytes`).get(row).bytes)
  return same(expression, Buffer.concat(made), Buffer.concat(sent[column]))
}

const { version } = database.prepare('select vec_version() as version').get()
table(
  `sqlite-vec ${version}: 24 sentences`,
  ['column', 'bytes', 'option', 'find their paraphrase', 'made from the floats by sqlite-vec'],
  [
    [
      'float[512]',
      `${sent.a[0].length}`,
      '',
      await ask('float', decode(full.data, {}), 'cosine', 1e-6, nearest('a', '?')),
      own('vec_f32(?)', 'a')
    ],
    [
      'int8[512]',
      `${sent.b[0].length}`,
      "scale: 'row'",
      await ask('int8', rows(codes.data, k), 'cosine', 1e-6, nearest('b', 'vec_int8(?)')),
      'it has no such codes'
    ],
    [
      'int8[512]',
      `${sent.c[0].length}`,
      "scale: 'sqlite-vec'",
      await ask('int8', rows(theirs.data, k), 'cosine', 1e-6, nearest('c', 'vec_int8(?)')),
      own("vec_quantize_int8(?, 'unit')", 'c')
    ],
    [
      'bit[512]',
      `${sent.d[0].length}`,
      "bitOrder: 'lsb'",
      await ask(
        'bit',
        decode(bits.data, { precision: 'ubinary', bitOrder: 'lsb' }),
        'hamming',
        0,
        nearest('d', 'vec_bit(?)')
      ),
      own('vec_quantize_binary(?)', 'd')
    ]
  ]
)
database.close()
