// The golden cases of every op, and their hashes.
import { createHash } from 'node:crypto'
import type { Kernels } from '../backend.js'
import { bits, firstDifference } from './data.js'
import { runLayerNorm } from './layer_norm.js'
import { runRmsNorm } from './rms_norm.js'
import { type RowCase, type RowResult, rowCases } from './rows.js'

/** The cases of one op: what they are, and how a backend runs one. */
export interface Cases {
  readonly all: () => Iterable<RowCase>
  readonly run: (kernels: Kernels, given: RowCase) => RowResult
}

export const cases: { readonly [op in keyof Kernels]: Cases } = {
  layer_norm: { all: rowCases, run: runLayerNorm },
  rms_norm: { all: rowCases, run: runRmsNorm }
}

/** SHA-256 of all outputs and of all float64 statistics of an op. The statistics apart: outputs are nearly blind to them. */
export interface Golden {
  readonly output: string
  readonly statistics: string
}

const names = ['y', 'sum', 'mean', 'rstd'] as const

/** Runs all cases of an op on a backend: their golden hashes. Bits are hashed in little-endian order. */
export function goldenOf(op: keyof Kernels, kernels: Kernels): Golden {
  const output = createHash('sha256')
  const statistics = createHash('sha256')
  for (const given of cases[op].all()) {
    const result = cases[op].run(kernels, given)
    for (const name of names) {
      const array = result[name]
      if (array) (name === 'y' || name === 'sum' ? output : statistics).update(bits(array))
    }
  }
  return { output: output.digest('hex'), statistics: statistics.digest('hex') }
}

/** Every difference between two backends over all cases of an op, each in words. */
export function* differences(op: keyof Kernels, a: Kernels, b: Kernels): Generator<string> {
  for (const given of cases[op].all()) {
    const left = cases[op].run(a, given)
    const right = cases[op].run(b, given)
    for (const name of names) {
      const one = left[name]
      const other = right[name]
      if (!one || !other) continue
      const at = firstDifference(one, other)
      if (at >= 0) yield `${op} ${given.name}: ${name}[${at}] is ${one[at]} and ${other[at]}`
    }
  }
}
