// What the scripts of this folder share: the output of a sentence encoder for 24 sentences, and the check of what a store
// finds in it. Sentences 2i and 2i + 1 mean the same for i < 11 (../README.md has the provenance).
import { readFileSync } from 'node:fs'
import { dequantizeEmbeddings } from '../../dist/esm/index.js'

const file = name => readFileSync(new URL(`../${name}`, import.meta.url))

/** The numbers of a .npy file, behind its header. */
function npy(name, TypedArray) {
  const bytes = file(name)
  return new TypedArray(
    bytes.buffer.slice(bytes.byteOffset + 10 + bytes.readUInt16LE(8), bytes.byteOffset + bytes.length)
  )
}

export const sentences = JSON.parse(file('use_sentences.json'))
export const [count, positions, channels] = [24, 26, 512]

/** last_hidden_state: float32 [24, 26, 512], as onnxruntime would give it. */
export const hidden = { data: npy('use_hidden_24x26x512.npy', Float32Array), dims: [count, positions, channels] }

/** attention_mask: int64 [24, 26], as a tokenizer gives it. */
export const mask = { type: 'int64', data: new BigInt64Array(count * positions), dims: [count, positions] }
for (const [i, length] of npy('use_lengths_24.npy', Int32Array).entries()) {
  mask.data.fill(1n, i * positions, i * positions + length)
}

/** The rows of a result. */
export const rows = (data, width) => Array.from({ length: count }, (_, i) => data.subarray(i * width, (i + 1) * width))

const dot = (a, b) => a.reduce((sum, value, c) => sum + value * b[c], 0)

/** Distances between decoded vectors, in float64. */
export const distances = {
  cosine: (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
  'negative dot': (a, b) => -dot(a, b),
  'one minus dot': (a, b) => 1 - dot(a, b),
  hamming: (a, b) => a.reduce((sum, value, c) => sum + Number(value !== b[c]), 0),
  euclid: (a, b) => Math.sqrt(a.reduce((sum, value, c) => sum + (value - b[c]) ** 2, 0))
}

/** Codes as the numbers that they stand for, a Float64Array for each row. */
export const decode = (data, options) =>
  rows(dequantizeEmbeddings(data, channels, options), channels).map(row => Float64Array.from(row))

/**
 * Asks a store for the rows nearest to each sentence. They must be those that a plain loop over `vectors` finds: every row
 * that comes back has the distance that it has there, and none is missing that is nearer. Gives how many sentences find
 * their paraphrase, strictly before any other.
 */
export async function ask(store, vectors, distance, tolerance, nearest) {
  let found = 0
  for (let i = 0; i < 22; i++) {
    const answer = (await nearest(i)).map(({ id, distance }) => ({ id: Number(id), distance }))
    const expected = vectors.map(vector => distances[distance](vectors[i], vector))
    const sorted = [...expected].sort((a, b) => a - b)
    for (const [rank, { id, distance }] of answer.entries()) {
      if (Math.abs(distance - expected[id]) > tolerance || Math.abs(distance - sorted[rank]) > tolerance) {
        throw new Error(`${store}: sentence ${i}, rank ${rank}: row ${id} at ${distance}, expected ${sorted[rank]}`)
      }
    }
    const [first, second] = answer.filter(({ id }) => id !== i)
    if (first.id === (i ^ 1) && first.distance < second.distance) found++
  }
  return `${found} of 22`
}

/** A statement about bytes that must hold. */
export function same(what, a, b) {
  const bytes = array => Buffer.from(array.buffer, array.byteOffset, array.byteLength)
  if (!bytes(a).equals(bytes(b))) throw new Error(`${what}: other bytes`)
  return 'the same bytes'
}

/** A title, and below it a table. */
export function table(title, heads, lines) {
  const all = [heads, ...lines]
  const widths = heads.map((_, i) => Math.max(...all.map(line => line[i].length)))
  console.log(title)
  for (const line of all) console.log(`  ${line.map((cell, i) => cell.padEnd(widths[i])).join('  ')}`.trimEnd())
}
