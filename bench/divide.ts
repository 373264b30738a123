// What threads gain: from how many rows on dividing a call pays, and what they gain where they share one row or sample. One thread
// and all of them, in turns. usage: npx tsx bench/divide.ts (after npm run build). With smaller values of worth_dividing and
// piece_size in native/threads/sections.h it shows sizes that are not divided otherwise.
import { tables } from '../dist/esm/backend/choice.js'
import { fill, normal } from '../dist/esm/cases/data.js'
import {
  getNumThreads,
  groupNorm,
  instanceNorm,
  layerNorm,
  layerNormBackward,
  normalize,
  rmsNorm,
  setNumThreads
} from '../dist/esm/index.js'

const cols = 768
const all = getNumThreads()
const [{ float32, name }] = tables
const weight = fill(normal, cols, 1)
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]

/** Nanoseconds of a call, on one thread and on all. */
function times(elements: number, call: () => void): number[] {
  const repeats = Math.ceil(2e7 / elements)
  const samples: [number[], number[]] = [[], []]
  for (let round = 0; round < 60; round++) {
    for (const [i, threads] of [1, all].entries()) {
      setNumThreads(threads)
      for (let j = 0; j < 3; j++) call()
      const start = performance.now()
      for (let j = 0; j < repeats; j++) call()
      samples[i].push(((performance.now() - start) / repeats) * 1e6)
    }
  }
  return samples.map(median)
}

console.log(`layer_norm on ${name}, d = ${cols}, ns per row: rows, 1 thread, ${all} threads, ratio`)
for (const rows of [16, 32, 64, 128, 256, 512, 1024, 8192]) {
  const x = fill(normal, rows * cols, rows)
  const y = new Float32Array(rows * cols)
  const shape = { outer: rows, size: cols, inner: 1 }
  const absent = { sum: undefined, mean: undefined, rstd: undefined, residual: undefined }
  const operands = { ...absent, y, x, weight, bias: weight, shape, residualScale: 1, eps: 1e-5 }
  const [one, many] = times(rows * cols, () => float32.layer_norm(operands))
  console.log(rows, (one / rows).toFixed(1), (many / rows).toFixed(1), (one / many).toFixed(2))
}

console.log(`one row or sample, us: 1 thread, ${all} threads, ratio`)
const [n, channels, positions, three] = [1 << 20, 320, 4096, 3 * 436_906]
const x = fill(normal, channels * positions, 2)
const dy = fill(normal, channels * positions, 3)
const out = new Float32Array(x.length)
const part = (values: Float32Array, size = n) => values.subarray(0, size)
const row = { out: part(out), weight: part(dy) }
const sample = (dims: number[]) => ({ data: x, dims })
const shared: { [what: string]: () => void } = {
  'layerNorm [1048576]': () => layerNorm(part(x), n, { ...row, bias: part(dy) }),
  'rmsNorm [1048576]': () => rmsNorm(part(x), n, row),
  'normalize [1048576]': () => normalize(part(x), n, { out: row.out }),
  'layerNormBackward [1048576]': () => layerNormBackward(part(dy), part(x), n, { dx: row.out }),
  'groupNorm of 1 group, [1, 320, 4096]': () => groupNorm(sample([1, channels, positions]), 1, { out }),
  'groupNorm of 1 group, [1, 4096, 320] channels last': () =>
    groupNorm(sample([1, positions, channels]), 1, { out, layout: 'channels-last' }),
  'instanceNorm [1, 3, 436906]': () =>
    instanceNorm({ data: part(x, three), dims: [1, 3, three / 3] }, { out: part(out, three) })
}
for (const [what, call] of Object.entries(shared)) {
  const [one, many] = times(n, call)
  console.log(`${what}: ${(one / 1e3).toFixed(0)} ${(many / 1e3).toFixed(0)} ${(one / many).toFixed(2)}`)
}
