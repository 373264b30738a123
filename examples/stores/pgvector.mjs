// pgvector: embeddings in vector, halfvec and bit columns, written and asked by node-postgres as a server does it.
// node examples/stores/pgvector.mjs [FOLDER]: PostgreSQL itself runs in this process (PGlite), in memory or in a folder.
import { PGlite } from '@electric-sql/pglite'
import { vector } from '@electric-sql/pglite-pgvector'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'
import pg from 'pg'
import { poolEmbeddings } from '../../dist/esm/index.js'
import { ask, decode, hidden, mask, rows, same, sentences, table } from './sentences.mjs'

const database = await PGlite.create({ dataDir: process.argv[2], extensions: { vector } })
const server = new PGLiteSocketServer({ db: database, host: '127.0.0.1', port: 0 })
await server.start()
const [host, port] = server.getServerConn().split(':')
const client = new pg.Client({ host, port: Number(port), user: 'postgres', database: 'postgres' })
await client.connect()
await client.query('create extension if not exists vector; drop table if exists sentences')

// PostgreSQL's binary forms, big-endian. node-postgres sends a Buffer as it is, in the binary form of the column's type.
const k = 512
const dimensions = Buffer.from([k >> 8, k & 255, 0, 0])
const toVector = row => Buffer.concat([dimensions, Buffer.from(row.slice().buffer).swap32()])
const toHalfvec = row => Buffer.concat([dimensions, Buffer.from(row.slice().buffer).swap16()])
const toBit = row => Buffer.concat([Buffer.from([0, 0, k >> 8, k & 255]), row])

const full = poolEmbeddings(hidden, { mask })
const half = poolEmbeddings(hidden, { mask, precision: 'float16' })
const bits = poolEmbeddings(hidden, { mask, precision: 'ubinary' })

await client.query('create table sentences (id int, text text, a vector(512), b halfvec(512), c bit(512))')
const sent = {
  a: rows(full.data, k).map(toVector),
  b: rows(half.data, k).map(toHalfvec),
  c: rows(bits.data, k / 8).map(toBit)
}
for (const [id, text] of sentences.entries()) {
  const { a, b, c } = sent
  await client.query('insert into sentences values ($1, $2, $3, $4, $5)', [id, text, a[id], b[id], c[id]])
}

/** The rows nearest to a sentence's own, by a column. */
const nearest = (column, operator) => async id => {
  const query = `select id, ${column} ${operator} $1 as distance from sentences order by distance limit 5`
  return (await client.query(query, [sent[column][id]])).rows
}

/** What PostgreSQL makes of the vectors by itself must be what was sent. */
async function own(expression, column) {
  const { rows } = await client.query(`select ${expression} as bytes from sentences order by id`)
  return same(expression, Buffer.concat(rows.map(({ bytes }) => bytes)), Buffer.concat(sent[column]))
}

const versions = await client.query("select extversion from pg_extension where extname = 'vector'")
table(
  `pgvector ${versions.rows[0].extversion}: 24 sentences`,
  ['column', 'bytes', 'find their paraphrase', 'made from the vector by PostgreSQL'],
  [
    [
      'vector(512)',
      `${sent.a[0].length}`,
      await ask('vector', decode(full.data, {}), 'negative dot', 1e-6, nearest('a', '<#>')),
      await own('vector_send(a)', 'a')
    ],
    [
      'halfvec(512)',
      `${sent.b[0].length}`,
      await ask('halfvec', decode(half.data, { precision: 'float16' }), 'negative dot', 1e-6, nearest('b', '<#>')),
      await own('halfvec_send(a::halfvec)', 'b')
    ],
    [
      'bit(512)',
      `${sent.c[0].length}`,
      await ask('bit', decode(bits.data, { precision: 'ubinary' }), 'hamming', 0, nearest('c', '<~>')),
      await own('bit_send(binary_quantize(a))', 'c')
    ]
  ]
)

await client.end()
await server.stop()
await database.close()
