// What the second pass of rule 5 costs: layer_norm on rows that need it and on rows that do not, on every backend.
import { tables } from '../dist/esm/backend/choice.js'
import { fill, finiteRows, ordinaryWeights } from '../dist/esm/cases/data.js'
import { here, measure } from '../dist/esm/cli/bench/measure.js'

const [rows, cols] = [256, 768]
const shape = { outer: rows, size: cols, inner: 1 }
const absent = { sum: undefined, mean: undefined, rstd: undefined, residual: undefined }
const weight = fill(ordinaryWeights, cols, 1)
const y = new Float32Array(rows * cols)

for (const { name, float32 } of tables) {
  const run = (x: Float32Array) => {
    const call = { ...absent, y, x, weight, bias: weight, shape, residualScale: 1, eps: 1e-5 }
    return () => float32.layer_norm(call)
  }
  const kinds = ['N(0,1)', 'N(1e3,1)'] as const
  const times = await measure(
    kinds.map(kind => here(run(fill(finiteRows[kind], rows * cols, 1)))),
    500
  )
  console.log(
    `${name.padEnd(9)} ${kinds.map((kind, i) => `${kind} ${(times[i] / rows).toFixed(0)} ns`).join(', ')} per row`
  )
}
