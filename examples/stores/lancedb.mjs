// LanceDB: columns of float32, float16 and bits, given as Arrow arrays over our results, without a copy in JavaScript.
// node examples/stores/lancedb.mjs
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import { join } from 'node:path'
import { connect } from '@lancedb/lancedb'
import { poolEmbeddings } from '../../dist/esm/index.js'
import { ask, count, decode, hidden, mask, rows, same, sentences, table } from './sentences.mjs'

// LanceDB must see the same copy of Arrow, the CommonJS one: it drops the rows of columns that another one made.
const { FixedSizeList, Field, Float16, Float32, Int32, makeData, Table, Uint8, Vector, vectorFromArray } =
  createRequire(import.meta.url)('apache-arrow')

const k = 512
const full = poolEmbeddings(hidden, { mask })
const half = poolEmbeddings(hidden, { mask, precision: 'float16' })
const bits = poolEmbeddings(hidden, { mask, precision: 'ubinary' })

/** A column of rows of `width` numbers, over the memory of `data`. */
function column(type, data, width) {
  const list = new FixedSizeList(width, new Field('item', type, true))
  const length = data.length / width
  return new Vector([makeData({ type: list, length, nullCount: 0, child: makeData({ type, data }) })])
}

const folder = mkdtempSync(join(os.tmpdir(), 'lancedb-'))
const database = await connect(folder)
const stored = await database.createTable(
  'sentences',
  new Table({
    id: vectorFromArray(Array(count).keys(), new Int32()),
    text: vectorFromArray(sentences),
    a: column(new Float32(), full.data, k),
    // The bits of float16, not numbers: Arrow's own conversion makes 0.25 of 0.4999.
    b: column(new Float16(), new Uint16Array(half.data.buffer, half.data.byteOffset, half.data.length), k),
    c: column(new Uint8(), bits.data, k / 8)
  })
)

const queries = { a: rows(full.data, k), b: rows(full.data, k), c: rows(bits.data, k / 8) }
const nearest = (column, metric) => async id => {
  const query = stored.query().nearestTo(queries[column][id]).column(column).distanceType(metric).limit(5)
  return (await query.toArray()).map(({ id, _distance }) => ({ id, distance: _distance }))
}

/** What the table holds must be what went in. */
async function back(column, data) {
  const found = (await stored.query().toArray()).sort((a, b) => a.id - b.id)
  return same(column, Buffer.concat(found.map(row => Buffer.from(row[column].toArray().slice().buffer))), data)
}

table(
  'LanceDB: 24 sentences',
  ['column', 'bytes', 'find their paraphrase', 'read back'],
  [
    [
      'float32',
      `${4 * k}`,
      await ask('float32', decode(full.data, {}), 'one minus dot', 1e-5, nearest('a', 'dot')),
      await back('a', full.data)
    ],
    [
      'float16',
      `${2 * k}`,
      await ask('float16', decode(half.data, { precision: 'float16' }), 'one minus dot', 1e-4, nearest('b', 'dot')),
      await back('b', half.data)
    ],
    [
      'uint8, bits',
      `${k / 8}`,
      await ask('bits', decode(bits.data, { precision: 'ubinary' }), 'hamming', 0, nearest('c', 'hamming')),
      await back('c', bits.data)
    ]
  ]
)
rmSync(folder, { recursive: true })
