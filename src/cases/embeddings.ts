// The calls of the operations on embeddings: samples of positions with and without padding, rows of every kind and format.
import { codeFormats, type Groups, type Volume } from '../kernels/operands.js'
import { allRows, fill, finiteRows, lengths, normal } from './data.js'
import { all } from './rows.js'
import { volumeCases } from './volumes.js'

/** Samples of positions, the channels last. Operands as kernels take them. */
export interface PoolCase {
  readonly name: string
  readonly x: Float32Array
  readonly shape: Volume
}

/** samples, positions, channels: beyond the channels whose sums are kept at a time. */
const wide: readonly [number, number, number][] = [
  [2, 9, 1023],
  [1, 17, 1024],
  [2, 5, 1025],
  [1, 3, 2500]
]

/** Those of operations over channels, whose channels are last, and some of many channels. */
export function* poolCases(isTaken = all): Generator<PoolCase> {
  for (const { name, x, shape } of volumeCases(false, isTaken)) if (shape.channelsLast) yield { name, x, shape }
  for (const [samples, positions, groups] of wide) {
    const shape = { samples, groups, channelsPerGroup: 1, positions, channelsLast: true }
    yield {
      name: `[${samples}, ${positions}, ${groups}]`,
      x: fill(normal, samples * positions * groups, groups),
      shape
    }
  }
}

/** The same without positions, and without numbers that are not finite: those are refused. */
export function* calibrateCases(isTaken = all): Generator<PoolCase> {
  for (const { name, x, shape } of volumeCases(false, isTaken)) {
    if (shape.channelsLast && shape.positions === 1 && !shape.spans) yield { name, x, shape }
  }
}

/** Operands of one call of quantize_embeddings. */
export interface QuantizeCase {
  readonly name: string
  readonly x: Float32Array
  readonly shape: Groups
  readonly low: Float32Array
  readonly step: Float32Array
  readonly format: number
}

/** Rows of every kind and length in every format; for two of three elements near their range. */
export function* quantizeCases(isTaken = all): Generator<QuantizeCase> {
  const kinds = Object.keys(allRows)
  const finite = Object.keys(finiteRows)
  let index = 0
  for (const size of lengths.filter(n => n <= 1028)) {
    for (const format of codeFormats.keys()) {
      if (!isTaken(index)) {
        index++
        continue
      }
      const kind =
        index % 3 === 0 ? kinds[index % kinds.length] : index % 3 === 1 ? 'N(0,1)' : finite[index % finite.length]
      const x = fill(allRows[kind], 3 * size, index)
      const low = fill(normal, size, index + 1).map(v => v - 2)
      const step = fill(normal, size, index + 2).map(v => Math.abs(v) / 64 || 1)
      const name = `${kind} of ${size}, ${codeFormats[format]}`
      yield { name, x, shape: { outer: 3, size, inner: 1 }, low, step, format }
      index++
    }
  }
}
