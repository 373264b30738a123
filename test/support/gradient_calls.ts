// Calls of the backward kernels and of residual_sum that are large enough for several threads, in all the ways in which they are
// divided.
import { random } from '../../dist/esm/cases/data.js'
import type { Op } from '../../dist/esm/kernels/index.js'
import { type Groups, partialSums, type Statistic, type Volume } from '../../dist/esm/kernels/operands.js'
import { volumeOperands } from './calls.ts'

/** A kernel's call: new outputs, and the arguments with them. */
export interface Call {
  readonly name: string
  readonly op: Op
  readonly outputs: () => Outputs
  readonly operands: (outputs: Written) => object
}

/** As an op that has a y gets them. */
export interface Written extends Outputs {
  readonly y: Float32Array
}

export interface Outputs {
  readonly y?: Float32Array
  readonly [name: string]: Statistic | undefined
}

/** What all calls take a part of. */
interface Memory {
  readonly values: Float32Array
  readonly others: Float32Array
  readonly weights: Float32Array
}

/** Sums over rows: of what the kernel is given the first n elements are its result. */
const newSums = (shape: Groups | Volume, n: number) => new Float64Array(partialSums(shape, n)).subarray(0, n)
const withPartialSums = (sums: Statistic | undefined) => sums && new Float64Array(sums.buffer)

/** Rows and elements of each. */
const rowShapes: readonly (readonly [number, number])[] = [
  [1031, 768],
  [65, 4096],
  [5001, 77],
  [3, 200_003],
  // below, at and above a whole block of rows for each piece
  [127, 2048],
  [128, 2048],
  [193, 2048]
]

/** Real rows: as `lengths` leaves them, with isolated holes, with isolated rows, and so few that they are one block. */
const paddings: readonly { readonly name: string; readonly isReal: (row: number, rows: number) => boolean }[] = [
  { name: 'lengths', isReal: row => row % 50 < 17 + (row % 4) * 9 },
  { name: 'holes', isReal: row => row % 7 !== 3 },
  { name: 'isolated', isReal: row => row % 3 === 1 },
  { name: 'few', isReal: (row, rows) => row > rows / 2 && row < rows / 2 + 60 }
]

function spansOfRows(rows: number, isReal: (row: number, rows: number) => boolean): Int32Array {
  const list: number[] = []
  for (let row = 0; row < rows; row++) {
    if (!isReal(row, rows)) continue
    if (list[list.length - 1] === row) list[list.length - 1] = row + 1
    else list.push(row, row + 1)
  }
  return Int32Array.from([2, 2 + list.length, ...list])
}

function* rowCalls({ values, others, weights }: Memory): Generator<Call> {
  let index = 0
  for (const [outer, size] of rowShapes) {
    const n = outer * size
    const [from, other] = [index % 7, index % 5]
    const x = values.subarray(from, from + n)
    const dy = others.subarray(other, other + n)
    const dsum = values.subarray(from + 8, from + 8 + n)
    const weight = weights.length < size ? undefined : weights.subarray(0, size)
    const mean = Float64Array.from({ length: outer }, (_, row) => weights[row] / 4)
    const rstd = Float64Array.from({ length: outer }, (_, row) => 1 / (3 + weights[row]))
    const given = { dy, x, weight, residualScale: 0.75, eps: 1e-5, counted: Math.ceil(size / 2) }
    for (const padding of [undefined, ...paddings]) {
      const spans = padding && spansOfRows(outer, padding.isReal)
      const shape = { outer, size, inner: 1, spans }
      const absent = { dresidual: undefined, dweight: undefined, dbias: undefined, dsum: undefined }
      const where = `[${outer}, ${size}]${padding ? ` ${padding.name}` : ''}`
      const results = () => new Float32Array(n).fill(7)
      for (const op of ['layer_norm_backward', 'rms_norm_backward'] as const) {
        const sums = () => (op === 'layer_norm_backward' ? newSums(shape, size) : undefined)
        const saved = { mean, rstd }
        yield {
          ...{ name: `${where} all`, op },
          outputs: () => ({
            ...{ dx: results(), dresidual: results() },
            ...{ dweight: newSums(shape, size), dbias: sums() }
          }),
          operands: ({ dweight, dbias, ...written }) => ({
            ...{ ...given, ...saved, ...written, dsum, shape },
            ...{ dweight: withPartialSums(dweight), dbias: withPartialSums(dbias) }
          })
        }
        yield {
          ...{ name: `${where} in place, sums`, op },
          outputs: () => ({ dx: dy.slice(), dweight: newSums(shape, size) }),
          operands: ({ dx, dweight }) => ({
            ...{ ...given, ...absent, mean: undefined, rstd: undefined, dx, dy: dx, shape },
            dweight: withPartialSums(dweight)
          })
        }
        yield {
          ...{ name: `${where} dx alone`, op, outputs: () => ({ dx: results() }) },
          operands: ({ dx }) => ({ ...given, ...absent, mean: undefined, rstd: undefined, dx, shape })
        }
      }
      const rule = index++ % 5
      const dots = () => (rule % 2 ? new Float32Array(outer).fill(7) : new Float64Array(outer).fill(7))
      yield {
        ...{ name: `${where} rule ${rule}`, op: 'normalize_backward' },
        outputs: () => ({ dx: results(), dots: dots() }),
        operands: ({ dx, dots }) => ({ ...{ dx, dots, dy, x, shape, rule }, eps: 1e-12, factor: 1.5 })
      }
      if (padding) continue // residual_sum is called for all rows
      for (const residualScale of [1, 0.75]) {
        yield {
          ...{ name: `${where} * ${residualScale}`, op: 'residual_sum', outputs: () => ({ sum: results() }) },
          operands: ({ sum }) => ({ sum, x, residual: dy, shape, residualScale })
        }
      }
    }
  }
}

type VolumeShape = readonly [samples: number, groups: number, channels: number, positions: number]

function* volumeCalls({ values, others, weights }: Memory, shapes: readonly VolumeShape[]): Generator<Call> {
  let index = 0
  for (const [samples, groups, channels, positions] of shapes) {
    const count = groups * channels
    const n = samples * count * positions
    const next = random(index)
    const ranges = Int32Array.from({ length: 2 * samples }, (_, i) =>
      Math.floor((positions * ((i % 2) + next())) / 2 + (i % 2))
    )
    for (const channelsLast of positions === 1 ? [true] : [false, true]) {
      for (const spans of [undefined, ranges]) {
        const [from, other] = [index % 7, index++ % 5]
        const x = values.subarray(from, from + n)
        const dy = others.subarray(other, other + n)
        const weight = weights.subarray(0, count)
        const volume = { samples, groups, channels, positions, channelsLast, spans }
        const shape = { samples, groups, channelsPerGroup: channels, positions, channelsLast }
        const name = `[${samples}, ${groups}, ${channels}, ${positions}]${channelsLast ? ' channels last' : ''}${spans ? ' padded' : ''}`
        const statistic = (of: number, length: number) =>
          Float64Array.from({ length }, (_, i) => (of === 0 ? weights[i % 70_000] / 4 : 1 / (3 + weights[i % 70_000])))
        const [mean, rstd] = [0, 1].map(of => statistic(of, samples * groups))
        for (const saved of [
          { mean: undefined, rstd: undefined },
          { mean, rstd }
        ]) {
          yield {
            ...{ name: `${name}${saved.mean ? ' saved' : ''}`, op: 'group_norm_backward' },
            outputs: () => ({ dx: dy.slice(), dweight: newSums(shape, count), dbias: newSums(shape, count) }),
            operands: ({ dx, dweight, dbias }) => {
              const sums = { dweight: withPartialSums(dweight), dbias: withPartialSums(dbias) }
              return volumeOperands({ ...volume, ...saved, ...sums, dx, dy: dx, x, weight, eps: 1e-5 })
            }
          }
        }
        if (channels > 1) continue
        const [batchMean, batchRstd] = [0, 1].map(of => statistic(of, groups))
        for (const training of [0, 1]) {
          const hasWeightSums = index % 3 > 0
          yield {
            ...{ name: `${name}, training ${training}`, op: 'batch_norm_backward' },
            outputs: () => ({
              dx: new Float32Array(n).fill(7),
              dweight: hasWeightSums ? new Float64Array(groups) : undefined,
              dbias: new Float64Array(groups)
            }),
            operands: written =>
              volumeOperands({ ...volume, ...written, dy, x, mean: batchMean, rstd: batchRstd, weight, training })
          }
        }
      }
    }
  }
}

/** More samples than have a row of partial sums each, and so many elements that pieces have 64 of them and some of the groups. */
function* partsOfBlocks({ values, others, weights }: Memory): Generator<Call> {
  for (const [samples, groups, positions, channelsLast] of [
    [4097, 2, 1056, false],
    [4100, 37, 58, true]
  ] as const) {
    const n = samples * groups * positions
    const repeated = (from: Float32Array) => {
      const out = new Float32Array(n)
      for (let at = 0; at < n; at += from.length) out.set(from.subarray(0, Math.min(from.length, n - at)), at)
      return out
    }
    const [x, dy] = [repeated(values.subarray(0, 2_000_003)), repeated(others.subarray(0, 1_900_001))]
    const shape = { samples, groups, channelsPerGroup: 1, positions, channelsLast }
    const length = samples * groups
    const mean = Float64Array.from({ length }, (_, i) => weights[i % 70_000] / 4)
    const rstd = Float64Array.from({ length }, (_, i) => 1 / (3 + weights[i % 70_000]))
    yield {
      ...{ name: `[${samples}, ${groups}, 1, ${positions}] saved`, op: 'group_norm_backward' },
      outputs: () => ({ dx: new Float32Array(n), dweight: newSums(shape, groups), dbias: newSums(shape, groups) }),
      operands: ({ dx, dweight, dbias }) => ({
        ...{ dx, dy, x, mean, rstd, weight: weights, shape, eps: 1e-5 },
        ...{ dweight: withPartialSums(dweight), dbias: withPartialSums(dbias) }
      })
    }
  }
}

/** All of them; `shapes` are those that the forward of channels is called with. */
export function* gradientCalls(memory: Memory, shapes: readonly VolumeShape[]): Generator<Call> {
  yield* rowCalls(memory)
  yield* volumeCalls(memory, shapes)
  yield* partsOfBlocks(memory)
}
