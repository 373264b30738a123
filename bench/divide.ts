// From how many elements on dividing a call among threads pays: one thread and all of them, in turns. usage: npx tsx
// bench/divide.ts (after npm run build). With smaller values of worth_dividing and piece_size in native/threads/divide.h it shows
// sizes that are not divided otherwise.
import { tables } from '../dist/esm/backend/choice.js'
import { fill, normal } from '../dist/esm/cases/data.js'
import { getNumThreads, setNumThreads } from '../dist/esm/index.js'

const cols = 768
const all = getNumThreads()
const [{ float32, name }] = tables
const weight = fill(normal, cols, 1)
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]

console.log(`layer_norm on ${name}, d = ${cols}, ns per row: rows, 1 thread, ${all} threads, ratio`)
for (const rows of [16, 32, 64, 128, 256, 512, 1024, 8192]) {
  const x = fill(normal, rows * cols, rows)
  const y = new Float32Array(rows * cols)
  const shape = { outer: rows, size: cols, inner: 1 }
  const absent = { sum: undefined, mean: undefined, rstd: undefined, residual: undefined }
  const operands = { ...absent, y, x, weight, bias: weight, shape, residualScale: 1, eps: 1e-5 }
  const call = () => float32.layer_norm(operands)
  const repeats = Math.ceil(2e7 / (rows * cols))
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < 60; round++) {
    for (const [i, threads] of [1, all].entries()) {
      setNumThreads(threads)
      for (let j = 0; j < 3; j++) call()
      const start = performance.now()
      for (let j = 0; j < repeats; j++) call()
      times[i].push(((performance.now() - start) / repeats / rows) * 1e6)
    }
  }
  const [one, many] = times.map(median)
  console.log(rows, one.toFixed(1), many.toFixed(1), (one / many).toFixed(2))
}
