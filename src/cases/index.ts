// The golden cases of every op, and their hashes.
import { createHash } from 'node:crypto'
import type { Kernels } from '../backend.js'
import { runBatchNorm } from './batch_norm.js'
import { runBatchStatistics } from './batch_statistics.js'
import { bits, firstDifference } from './data.js'
import { runGroupNorm } from './group_norm.js'
import { runLayerNorm } from './layer_norm.js'
import { localResponseCases, runLocalResponseNorm } from './local_response_norm.js'
import { normalizeCases, runNormalize } from './normalize.js'
import { runRmsNorm } from './rms_norm.js'
import { type RowCase, rowCases } from './rows.js'
import { volumeCases } from './volumes.js'

/** What a call wrote, by name. */
type Result = { readonly [name: string]: Float32Array | Float64Array | undefined }

/** The cases of one op: what they are, and how a backend runs one. */
export interface Cases<Case extends { readonly name: string } = { readonly name: string }> {
  readonly all: () => Iterable<Case>
  run(kernels: Kernels, given: Case): Result
}

const allVolumes = () => volumeCases(true)
const channelVolumes = () => volumeCases(false)

const everyCase = {
  batch_norm: { all: channelVolumes, run: runBatchNorm },
  batch_statistics: { all: channelVolumes, run: runBatchStatistics },
  group_norm: { all: allVolumes, run: runGroupNorm },
  layer_norm: { all: rowCases, run: (kernels: Kernels, given: RowCase) => ({ ...runLayerNorm(kernels, given) }) },
  local_response_norm: { all: localResponseCases, run: runLocalResponseNorm },
  normalize: { all: normalizeCases, run: runNormalize },
  rms_norm: { all: rowCases, run: (kernels: Kernels, given: RowCase) => ({ ...runRmsNorm(kernels, given) }) }
} satisfies { readonly [op in keyof Kernels]: unknown }

export const cases: { readonly [op in keyof Kernels]: Cases } = everyCase

/** SHA-256 of all outputs and of all float64 statistics of an op. The statistics apart: outputs are nearly blind to them. */
export interface Golden {
  readonly output: string
  readonly statistics: string
}

const outputs = ['y', 'sum']

/** Runs all cases of an op on a backend: their golden hashes. Bits are hashed in little-endian order. */
export function goldenOf(op: keyof Kernels, kernels: Kernels): Golden {
  const output = createHash('sha256')
  const statistics = createHash('sha256')
  for (const given of cases[op].all()) {
    for (const [name, array] of Object.entries(cases[op].run(kernels, given))) {
      if (array) (outputs.includes(name) ? output : statistics).update(bits(array))
    }
  }
  return { output: output.digest('hex'), statistics: statistics.digest('hex') }
}

/** Every difference between two backends over all cases of an op, each in words. */
export function* differences(op: keyof Kernels, a: Kernels, b: Kernels): Generator<string> {
  for (const given of cases[op].all()) {
    const left = cases[op].run(a, given)
    const right = cases[op].run(b, given)
    for (const name of Object.keys(left)) {
      const one = left[name]
      const other = right[name]
      if (!one || !other) continue
      const at = firstDifference(one, other)
      if (at >= 0) yield `${op} ${given.name}: ${name}[${at}] is ${one[at]} and ${other[at]}`
    }
  }
}
