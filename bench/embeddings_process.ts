// The process of one contender of embeddings.ts. usage: embeddings_process.ts evenkeel|plain|transformers
import { createRequire } from 'node:module'
import { type Ready, serve } from '../dist/esm/cli/bench/contender.js'
import { memcpy, PLAIN, type Run } from '../dist/esm/cli/bench/rows.js'
import { EmbeddingPooler, setNumThreads } from '../dist/esm/index.js'
import { VERSION } from '../dist/esm/version.js'
import {
  COPY,
  COPY_AT_ONCE,
  type EmbeddingProblem,
  maskOf,
  POOLER,
  realOf,
  TRANSFORMERS
} from './embeddings_problem.ts'

const require = createRequire(import.meta.url)

interface Tensor {
  readonly data: Float32Array
  normalize(p: number, dim: number): Tensor
}
interface Transformers {
  readonly Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => Tensor
  mean_pooling(hidden: Tensor, mask: Tensor): Tensor
  readonly env: { readonly version: string }
}

/** Codes, which contenders hand on as float32. */
const into = (codes: Int8Array, run: Run): Ready => ({ run, result: () => Float32Array.from(codes) })

function evenkeel(given: EmbeddingProblem): Map<string, Ready> {
  const { dims, x: data, threads } = given
  const pooler = new EmbeddingPooler(dims[2], { precision: 'int8', scale: 'unit' })
  const out = new Int8Array(dims[0] * dims[2])
  const hidden = { data, dims }
  const mask = maskOf(given)
  const run = () => void pooler.forward(hidden, { mask, out })
  return new Map([[POOLER, { ...into(out, run), prepare: () => setNumThreads(threads) }]])
}

/** The real rows of each sample, one sample behind the other; and the same number of bytes at once. */
function copies(given: EmbeddingProblem): Map<string, Ready> {
  const { dims, x, lengths } = given
  const [, positions, channels] = dims
  const size = realOf(given) * channels
  const y = new Float32Array(size)
  let done = 0
  const runs = lengths.map((length, n) => {
    const from = n * positions * channels
    const to = y.subarray(done, done + length * channels)
    done += to.length
    return memcpy(x.subarray(from, from + to.length), to)
  })
  const each = () => {
    for (let n = 0; n < runs.length; n++) runs[n]()
  }
  return new Map([
    [COPY, { run: each, result: () => y }],
    [COPY_AT_ONCE, { run: memcpy(x.subarray(0, size), y), result: () => y }]
  ])
}

/** What one writes by hand, and well: padding is skipped, sums are float64, rows are read in the order of memory. */
function plain(x: Float32Array, mask: BigInt64Array, dims: EmbeddingProblem['dims'], out: Int8Array): void {
  const [samples, positions, channels] = dims
  const sums = new Float64Array(channels)
  for (let n = 0; n < samples; n++) {
    sums.fill(0)
    for (let p = 0; p < positions; p++) {
      const row = n * positions + p
      if (mask[row] === 0n) continue
      const at = row * channels
      for (let c = 0; c < channels; c++) sums[c] += x[at + c]
    }
    // Divided by its length, the mean is what the sum is.
    let squares = 0
    for (let c = 0; c < channels; c++) squares += sums[c] * sums[c]
    const scale = squares > 0 ? 127 / Math.sqrt(squares) : 0
    for (let c = 0; c < channels; c++) out[n * channels + c] = Math.round(sums[c] * scale)
  }
}

function plainLoop(given: EmbeddingProblem): Map<string, Ready> {
  const mask = maskOf(given)
  const out = new Int8Array(given.dims[0] * given.dims[2])
  return new Map([[PLAIN, into(out, () => plain(given.x, mask, given.dims, out))]])
}

/** Its pipeline's mean_pooling and normalize; for int8 it has nothing. */
function transformers(peer: Transformers, given: EmbeddingProblem): Map<string, Ready> {
  const { dims, x } = given
  const hidden = new peer.Tensor('float32', x, dims)
  const mask = new peer.Tensor('int64', maskOf(given), dims.slice(0, 2))
  const out = new Int8Array(dims[0] * dims[2])
  const run = () => {
    const { data } = peer.mean_pooling(hidden, mask).normalize(2, -1)
    for (let i = 0; i < data.length; i++) out[i] = Math.max(-127, Math.min(127, Math.round(data[i] * 127)))
  }
  return new Map([[TRANSFORMERS, { ...into(out, run), litters: true }]])
}

const which = process.argv[2]
switch (which) {
  case 'evenkeel':
    await serve(async (given: EmbeddingProblem) => new Map([...evenkeel(given), ...copies(given)]), VERSION)
    break
  case 'plain':
    await serve(async (given: EmbeddingProblem) => plainLoop(given), `V8 ${process.versions.v8}`)
    break
  case 'transformers': {
    const peer: Transformers = require('@huggingface/transformers')
    await serve(async (given: EmbeddingProblem) => transformers(peer, given), peer.env.version)
    break
  }
}
