// What the equality tests of row operations share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, lengths, normal, ordinaryWeights } from '../../../dist/esm/cases/data.js'
import type { RowCase } from '../../../dist/esm/cases/rows.js'
import type { Kernels } from '../../../dist/esm/kernels/index.js'
import { backendsHere } from '../backends.ts'
import { expectSameBits } from '../bits.ts'
import { type RowOperands, rowOperands } from '../calls.ts'
import { testCases } from '../cases.ts'
import { guarded } from '../memory.ts'
import type { RowCall, RowResult } from '../model.ts'

/** A row operation under test. */
export interface RowOp {
  readonly name: 'layer_norm' | 'rms_norm'
  /** Subtracts the mean, and has a bias. */
  readonly centered: boolean
  model(call: RowCall): RowResult
}

/** Calls the kernel. */
const call = (op: RowOp, kernels: Kernels, operands: RowOperands) => kernels[op.name](rowOperands(operands))

const sumOf = (a: Float32Array, b: Float32Array) => a.map((value, i) => value + b[i])

/** The result of one call on contiguous matrices; rows that are groups unless there is `inner`. */
export function runRows(op: RowOp, kernels: Kernels, x: Float32Array, cols: number, more: Partial<RowOperands> = {}) {
  const inner = more.inner ?? 1
  const rows = x.length / (cols * inner)
  const y = new Float32Array(x.length)
  const result = { y, mean: new Float64Array(rows * inner), rstd: new Float64Array(rows * inner) }
  call(op, kernels, { ...result, x, rows, cols, eps: 1e-5, ...more })
  return result
}

/** Equality: on every backend the bits of NUMERICS.md, whatever lies around the rows. */
export function testRowEquality(op: RowOp): void {
  testCases<RowCase>(op.name, given => ({ ...op.model(given) }))

  describe.each(backendsHere)(`equality: ${op.name} on %s`, (_, kernels) => {
    it('gives the bits of NUMERICS.md on both sides of every round of the lanes up to 4100', () => {
      for (let n = 16; n <= 4096; n += 16) {
        for (const cols of [n - 1, n, n + 1]) {
          const x = fill(finiteRows[n % 32 === 0 ? 'N(3,0.5)' : 'N(1e3,1)'], cols, n)
          const expected = op.model({ x, rows: 1, cols, eps: 1e-5 })
          const { y, rstd } = runRows(op, kernels, x, cols)
          expectSameBits(y, expected.y, `${cols} columns`)
          expectSameBits(rstd, expected.rstd, `rstd of ${cols} columns`)
        }
      }
    })

    it('gives a column the same bits alone, beside others, and in every strip of them', () => {
      for (const [cols, inner] of [
        [1, 9],
        [70, 33],
        [5, 600],
        [4200, 3]
      ]) {
        const x = fill(finiteRows['N(3,0.5)'], cols * inner, inner)
        const whole = runRows(op, kernels, x, cols, { inner })
        for (let from = 0; from < inner; from += 1 + (from % 5)) {
          // At least two: one column alone would be a row.
          const width = Math.min(inner - from, 2 + (from % 7))
          if (width < 2) continue
          const part = (of: Float32Array) =>
            Float32Array.from(
              { length: cols * width },
              (_, i) => of[Math.floor(i / width) * inner + from + (i % width)]
            )
          const alone = runRows(op, kernels, part(x), cols, { inner: width })
          expectSameBits(alone.y, part(whole.y), `columns ${from} to ${from + width} of ${cols} x ${inner}`)
          expectSameBits(alone.rstd, whole.rstd.slice(from, from + width), 'rstd')
        }
      }
    })

    it('gives a row the same bits alone, in a batch, and at any offset in memory', () => {
      for (const cols of [1, 7, 16, 33, 100, 768, 4097]) {
        const x = fill(normal, 9 * cols, cols)
        const weight = fill(ordinaryWeights, cols, 1)
        const whole = runRows(op, kernels, x, cols, { weight, bias: weight })
        for (let row = 0; row < 9; row++) {
          const from = x.subarray(row * cols, (row + 1) * cols)
          const to = guarded(cols, row)
          const moved = guarded(cols, 16 - row, from).array
          const w = guarded(cols, row + 3, weight).array
          call(op, kernels, { y: to.array, x: moved, weight: w, bias: w, rows: 1, cols, eps: 1e-5 })
          expectSameBits(to.array, whole.y.subarray(row * cols, (row + 1) * cols), `${cols} columns, row ${row}`)
        }
      }
    })

    it('writes its outputs and nothing around them, at every length and offset', () => {
      for (const cols of lengths.filter(n => n <= 300)) {
        const y = guarded(2 * cols, cols % 5)
        const sum = guarded(2 * cols, cols % 3)
        const x = fill(normal, 2 * cols, cols)
        call(op, kernels, { y: y.array, sum: sum.array, x, residual: x, rows: 2, cols, eps: 1e-5 })
        expect(y.intact() && sum.intact(), `${cols} columns`).toBe(true)
        expectSameBits(sum.array, sumOf(x, x), `sum of ${cols} columns`)
        // The same memory as one matrix of two rows, whose columns are the groups.
        call(op, kernels, { y: y.array, sum: sum.array, x, residual: x, rows: 1, cols: 2, inner: cols, eps: 1e-5 })
        expect(y.intact() && sum.intact(), `${cols} inner columns`).toBe(true)
        expectSameBits(y.array, op.model({ x: sumOf(x, x), rows: 1, cols: 2, inner: cols, eps: 1e-5 }).y, 'columns')
      }
    })

    it('reads and writes rows at any stride and leaves what lies between them', () => {
      const [rows, cols, stride] = [3, 21, 64]
      const x = fill(normal, rows * stride, 5)
      const y = new Float32Array(rows * stride).fill(7)
      const sum = new Float32Array(rows * stride).fill(7)
      call(op, kernels, { y, sum, x, residual: x, rows, cols, stride, eps: 1e-5 })
      for (let at = 0; at < rows * stride; at += stride) {
        const twice = x.slice(at, at + cols).map(value => value + value)
        expectSameBits(y.subarray(at, at + cols), runRows(op, kernels, twice, cols).y, `row at ${at}`)
        expectSameBits(sum.subarray(at, at + cols), twice, `sum at ${at}`)
        expect(y.subarray(at + cols, at + stride).every(value => value === 7)).toBe(true)
      }
    })

    it('gives the same bits in place as out of place, with and without a residual', () => {
      for (const cols of [5, 16, 100, 768]) {
        const x = fill(normal, 4 * cols, 1)
        const residual = fill(normal, 4 * cols, 2)
        const inPlace = x.slice()
        call(op, kernels, { y: inPlace, x: inPlace, rows: 4, cols, eps: 1e-5 })
        expectSameBits(inPlace, runRows(op, kernels, x, cols).y, 'out is x')
        inPlace.set(x)
        call(op, kernels, { y: inPlace, x: inPlace, rows: 1, cols: 4, inner: cols, eps: 1e-5 })
        expectSameBits(inPlace, runRows(op, kernels, x, 4, { inner: cols }).y, 'out is x, columns')

        const sum = sumOf(x, residual)
        const fused = runRows(op, kernels, sum, cols).y
        const places = ['x', 'residual', ''] as const
        for (const outIs of places) {
          for (const sumIs of places.filter(place => place !== outIs || place === '')) {
            const own = { x: x.slice(), residual: residual.slice() }
            const y = outIs ? own[outIs] : new Float32Array(4 * cols)
            const kept = sumIs ? own[sumIs] : undefined
            call(op, kernels, { ...own, y, sum: kept, rows: 4, cols, eps: 1e-5 })
            expectSameBits(y, fused, `out is ${outIs || 'new'}, sum is ${sumIs || 'none'}`)
            if (kept) expectSameBits(kept, sum, `sum is ${sumIs}`)
          }
        }
      }
    })

    it('rounds float32 statistics from the float64 ones', () => {
      const x = fill(normal, 5 * 100, 4)
      const exact = runRows(op, kernels, x, 100)
      const mean = new Float32Array(5)
      const rstd = new Float32Array(5)
      runRows(op, kernels, x, 100, { mean, rstd })
      if (op.centered) expectSameBits(mean, Float32Array.from(exact.mean), 'mean')
      expectSameBits(rstd, Float32Array.from(exact.rstd), 'rstd')
    })
  })
}
