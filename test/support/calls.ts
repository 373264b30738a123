// Operands of kernels from what tests have: rows and columns, or samples, groups and positions.
import { spansOfSamples } from '../../dist/esm/cases/volumes.js'
import type { Statistic } from '../../dist/esm/kernels/operands.js'
import type { RowCall, VolumeCall } from './model.ts'

/** Operands of one call of an op over rows; an op takes what it has. */
export interface RowOperands extends RowCall {
  readonly y: Float32Array
  /** Of every matrix; cols * inner unless given. */
  readonly stride?: number
  readonly sum?: Float32Array | undefined
  readonly mean?: Statistic | undefined
  readonly rstd?: Statistic | undefined
  readonly norm?: Statistic | undefined
  readonly spans?: Int32Array | undefined
}

const absent = { sum: undefined, mean: undefined, rstd: undefined, norm: undefined, residual: undefined }
const without = { weight: undefined, bias: undefined, residualScale: 1, weightOffset: 0 }

/** The same as kernels take them. */
export function rowOperands<Given extends Omit<RowOperands, 'eps'>>(given: Given) {
  const { rows, cols, inner = 1, stride, spans, ...operands } = given
  const shape = { outer: rows, size: cols, inner, spans }
  const strides = stride === undefined ? undefined : { y: stride, sum: stride, x: stride, residual: stride }
  return { ...absent, ...without, counted: cols, eps: 0, ...operands, shape, strides }
}

/** Operands of an op over channels as kernels take them. */
export function volumeOperands<
  Given extends Omit<VolumeCall, 'x' | 'spans' | 'weight' | 'bias' | 'eps'> & { spans?: Int32Array | undefined }
>(given: Given) {
  const { samples, groups, channels, positions, channelsLast, spans, ...operands } = given
  const shape = { samples, groups, channelsPerGroup: channels, positions, channelsLast, spans: spansOfSamples(spans) }
  return { mean: undefined, rstd: undefined, weight: undefined, bias: undefined, eps: 0, ...operands, shape }
}
