// The golden cases of every op, and their hashes.
import { createHash } from 'node:crypto'
import { type Type16, types16 } from '../kernels/elements.js'
import { type Kernels, type Op, ops } from '../kernels/index.js'
import { batchNormCases } from './batch_norm.js'
import { bits, firstDifference } from './data.js'
import { isTaken, storedCase } from './elements.js'
import { calibrateCases, poolCases, quantizeCases } from './embeddings.js'
import { residualCases, rowGradientCases, volumeGradientCases } from './gradients.js'
import { localResponseCases } from './local_response_norm.js'
import { normalizeCases } from './normalize.js'
import { permuteCases } from './permute.js'
import { rowCases, type Taken } from './rows.js'
import { type Case, runCase } from './run.js'
import { volumeCases } from './volumes.js'

export { type Case, type Result, runCase } from './run.js'

/** All cases of each op, or some. */
export const cases: { readonly [op in Op]: (isTaken?: Taken) => Iterable<Case> } = {
  batch_norm: batchNormCases,
  batch_norm_backward: isTaken => volumeGradientCases(false, isTaken),
  batch_statistics: isTaken => volumeCases(false, isTaken),
  calibrate_embeddings: calibrateCases,
  group_norm: isTaken => volumeCases(true, isTaken),
  group_norm_backward: isTaken => volumeGradientCases(true, isTaken),
  layer_norm: rowCases,
  layer_norm_backward: rowGradientCases,
  local_response_norm: localResponseCases,
  normalize: normalizeCases,
  normalize_backward: rowGradientCases,
  permute: permuteCases,
  pool_embeddings: poolCases,
  quantize_embeddings: quantizeCases,
  residual_sum: residualCases,
  rms_norm: rowCases,
  rms_norm_backward: rowGradientCases
}

/** Those of 16 bits. */
export function* storedCases(op: Op, type: Type16): Generator<Case> {
  let index = 0
  for (const given of cases[op](isTaken(op, type))) yield storedCase(op, given, type, index++)
}

/** What has golden hashes: each op, and each with elements of 16 bits. */
export interface Line {
  readonly name: string
  readonly op: Op
  readonly cases: () => Iterable<Case>
}

export const lines: readonly Line[] = [
  ...ops.map(op => ({ name: op, op, cases: cases[op] })),
  ...ops.flatMap(op => types16.map(type => ({ name: `${op} ${type}`, op, cases: () => storedCases(op, type) })))
]

/** SHA-256 of all outputs and of all float64 statistics of an op. The statistics apart: outputs are nearly blind to them. */
export interface Golden {
  readonly output: string
  readonly statistics: string
}

const outputs = ['y', 'sum', 'codes', 'dx', 'dresidual']

/** The golden hashes of all lines. */
export function goldens(kernels: Kernels): { [line: string]: Golden } {
  return Object.fromEntries(lines.map(({ name, op, cases }) => [name, goldenOf(op, kernels, cases())]))
}

/** Runs all cases of an op on a backend: their golden hashes. Bits are hashed in little-endian order. */
export function goldenOf(op: Op, kernels: Kernels, all: Iterable<Case> = cases[op]()): Golden {
  const output = createHash('sha256')
  const statistics = createHash('sha256')
  for (const given of all) {
    for (const [name, array] of Object.entries(runCase(op, kernels, given))) {
      if (array) (outputs.includes(name) ? output : statistics).update(bits(array))
    }
  }
  return { output: output.digest('hex'), statistics: statistics.digest('hex') }
}

/** Every difference between two backends over all cases of an op, each in words. */
export function* differences(op: Op, a: Kernels, b: Kernels, all: Iterable<Case> = cases[op]()): Generator<string> {
  for (const given of all) {
    const left = runCase(op, a, given)
    const right = runCase(op, b, given)
    for (const name of Object.keys(left)) {
      const one = left[name]
      const other = right[name]
      if (!one || !other) continue
      const at = firstDifference(one, other)
      if (at >= 0) yield `${op} ${given.name}: ${name}[${at}] is ${one[at]} and ${other[at]}`
    }
  }
}
