// Qdrant: named vectors of float32, float16 and uint8. Its server takes JSON, and what it keeps is the `datatype` of a vector.
// node examples/stores/qdrant.mjs [URL]: needs a server (http://localhost:6333); none installs from npm.
import { QdrantClient } from '@qdrant/js-client-rest'
import { calibrateEmbeddings, dequantizeEmbeddings, poolEmbeddings } from '../../dist/esm/index.js'
import { ask, decode, hidden, mask, rows, sentences, table } from './sentences.mjs'

const client = new QdrantClient({ url: process.argv[2] ?? 'http://localhost:6333', checkCompatibility: false })

const k = 512
const full = poolEmbeddings(hidden, { mask })
const half = poolEmbeddings(hidden, { mask, precision: 'float16' })

// uint8 holds no sign, so that dot products of codes mean nothing. With one range for all dimensions, Euclid's distance of
// codes is that of the embeddings times a constant: for unit vectors the order by cosine.
const { min, max } = calibrateEmbeddings(full.data, k)
const largest = Math.max(...max, ...min.map(Math.abs))
const ranges = [new Float32Array(k).fill(-largest), new Float32Array(k).fill(largest)]
const codes = poolEmbeddings(hidden, { mask, precision: 'uint8', scale: { ranges } })

await client.createCollection('sentences', {
  vectors: {
    full: { size: k, distance: 'Dot' },
    half: { size: k, distance: 'Dot', datatype: 'float16' },
    codes: { size: k, distance: 'Euclid', datatype: 'uint8' }
  }
})

// JSON wants arrays: of a typed array it makes an object. The numbers of float16 go in decoded, so that nothing is left to round.
const sent = {
  full: rows(full.data, k).map(row => Array.from(row)),
  half: rows(dequantizeEmbeddings(half.data, k, { precision: 'float16' }), k).map(row => Array.from(row)),
  codes: rows(codes.data, k).map(row => Array.from(row))
}
const points = sentences.map((text, id) => {
  return { id, vector: { full: sent.full[id], half: sent.half[id], codes: sent.codes[id] }, payload: { text } }
})
await client.upsert('sentences', { wait: true, points })

/** The rows nearest to a sentence's own; `sign` makes a distance of a score. */
const nearest = (using, sign) => async id => {
  const { points } = await client.query('sentences', { query: sent[using][id], using, limit: 5 })
  return points.map(({ id, score }) => ({ id, distance: sign * score }))
}

table(
  'Qdrant: 24 sentences',
  ['datatype', 'bytes', 'find their paraphrase'],
  [
    ['float32', `${4 * k}`, await ask('float32', decode(full.data, {}), 'negative dot', 1e-5, nearest('full', -1))],
    [
      'float16',
      `${2 * k}`,
      await ask('float16', decode(half.data, { precision: 'float16' }), 'negative dot', 1e-5, nearest('half', -1))
    ],
    ['uint8', `${k}`, await ask('uint8', rows(codes.data, k), 'euclid', 1e-2, nearest('codes', 1))]
  ]
)
