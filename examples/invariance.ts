// Which changes of weights and data leave a normalised layer's output as it was: table 1 of the RMSNorm paper (Zhang &
// Sennrich 2019, arXiv 1910.07467), found by running. A linear layer s = x @ w on real data, then the norm.

import { normal, random } from '../dist/esm/cases/data.js'
import { backend, batchNorm, layerNorm, rmsNorm } from '../dist/esm/index.js'
import { features, file, positions, readHiddenStates, relativeDifference, sequences, table } from './data.ts'

const rows = sequences * positions
const outputs = 128
const x = Float64Array.from(await readHiddenStates())
const next = random(1)
const w = Float64Array.from({ length: features * outputs }, () => normal(next) / Math.sqrt(features))

/** x @ w in float64, rounded to float32 once. */
function linear(x: Float64Array, w: Float64Array): Float32Array {
  const s = new Float32Array(rows * outputs)
  const sums = new Float64Array(outputs)
  for (let row = 0; row < rows; row++) {
    sums.fill(0)
    for (let i = 0; i < features; i++) {
      const value = x[row * features + i]
      for (let k = 0; k < outputs; k++) sums[k] += value * w[i * outputs + k]
    }
    s.set(sums, row * outputs)
  }
  return s
}

// eps is 0: with any other, scaling changes what eps is relative to the variance (the second table).
const norms: { name: string; norm: (s: Float32Array, eps?: number) => Float32Array; paper: string | undefined }[] = [
  { name: 'none', norm: s => s, paper: undefined },
  { name: 'BatchNorm', norm: s => trainingBatchNorm(s), paper: 'yes no  yes yes yes no ' },
  { name: 'LayerNorm', norm: (s, eps = 0) => layerNorm(s, outputs, { eps }), paper: 'yes yes no  yes no  yes' },
  { name: 'RMSNorm', norm: (s, eps = 0) => rmsNorm(s, outputs, { eps }), paper: 'yes no  no  yes no  yes' },
  {
    name: 'pRMSNorm 6.25 %',
    norm: (s, eps = 0) => rmsNorm(s, outputs, { eps, partial: 0.0625 }),
    paper: 'yes no  no  yes no  yes'
  }
]

function trainingBatchNorm(s: Float32Array): Float32Array {
  return batchNorm({ data: s, dims: [rows, outputs] }, { training: true, eps: 0 }).data
}

const scaled = 3
const shifted = 0.25
const sample = 100
const changes: {
  name: string
  x?: (value: number, row: number) => number
  w?: (value: number, k: number) => number
}[] = [
  { name: 'weights x 3', w: value => value * scaled },
  { name: 'weights + 1/4', w: value => value + shifted },
  { name: 'one vector x 3', w: (value, k) => (k === 0 ? value * scaled : value) },
  { name: 'data x 3', x: value => value * scaled },
  { name: 'data + 1/4', x: value => value + shifted },
  { name: 'one sample x 3', x: (value, row) => (row === sample ? value * scaled : value) }
]

const before = linear(x, w)
const results = changes.map(change =>
  linear(
    x.map((value, i) => change.x?.(value, Math.floor(i / features)) ?? value),
    w.map((value, i) => change.w?.(value, i % outputs) ?? value)
  )
)

// Rounding s to float32 moves an element by 2^-24 of itself, its mean and its standard deviation by no more, and the
// result by 3 * 2^-24 * max |s| / std. That ratio is at most 14 here (weights + 1/4, which shifts whole rows), and the
// norm itself rounds its result: 5e-6 covers both. A change that does not survive moves outputs by tenths.
const SURVIVES = 5e-6
const CHANGES = 1e-2
const verdict = (difference: number) => (difference < SURVIVES ? 'yes' : difference > CHANGES ? 'no' : '???')

console.log(`s = x @ w: x is ${file} as ${rows} samples of ${features} features,`)
console.log(
  `w is ${features} x ${outputs}, normal; then the norm, eps 0, without weight and bias (backend ${backend}).`
)

const tableRows: string[][] = []
let agrees = true
for (const { name, norm, paper } of norms) {
  const y = norm(before)
  const differences = results.map(s => relativeDifference(y, norm(s)))
  const found = differences.map(verdict)
  const expected = paper?.match(/\w+/g)
  const same = expected ? expected.join() === found.join() : found.every(answer => answer === 'no')
  agrees &&= same
  const cells = differences.map((difference, i) => `${found[i]} ${difference.toExponential(0).padStart(5)}`)
  tableRows.push([name, ...cells, expected ? (same ? 'yes' : 'NO') : 'not in it'])
}
table(
  'Is the output the same after the change? The largest difference, relative to the largest output:',
  ['', ...changes.map(({ name }) => name), 'as the paper'],
  tableRows
)
console.log(`  yes: below ${SURVIVES.toExponential()}, which is rounding; no: above ${CHANGES}.`)
console.log("  The paper's fourth method, WeightNorm, normalises weights, not activations, and is not in this library.")

// What eps does to "data x c": the smaller the data, the more eps is worth.
const factors = [1, 1e-2, 1e-4]
table(
  'With the default eps, data scaled down: the same output? (largest difference, relative)',
  ['data x', ...factors.slice(1).map(String)],
  norms.slice(2, 4).map(({ name, norm }) => {
    const eps = name === 'LayerNorm' ? 1e-5 : 1e-6
    const y = norm(before, eps)
    const cells = factors.slice(1).map(factor => {
      const s = linear(
        x.map(value => value * factor),
        w
      )
      return relativeDifference(y, norm(s, eps)).toExponential(0)
    })
    return [`${name}, eps ${eps.toExponential()}`, ...cells]
  })
)
process.exitCode = agrees ? 0 : 1
