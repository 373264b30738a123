// The tests that row operations share, and what all suites need: every case against the model, guarded memory.
import { describe, expect, it } from 'vitest'
import '../../dist/esm/index.js'
import { type Kernels, tables } from '../../dist/esm/backend.js'
import type { Statistic } from '../../dist/esm/canonical.js'
import {
  bits,
  fill,
  finiteRows,
  firstDifference,
  lengths,
  normal,
  ordinaryWeights,
  wildWeights
} from '../../dist/esm/cases/data.js'
import { cases, goldenOf } from '../../dist/esm/cases/index.js'
import type { RowCase } from '../../dist/esm/cases/rows.js'
import golden from '../golden.json' with { type: 'json' }
import type { RowCall, RowResult } from './model.ts'
import { errorInHalfUlps, meanErrorInHalfUlps, normalise } from './oracle.ts'

/** Every backend of this machine, the TypeScript one last. */
export const backendsHere = tables.map(({ name, float32 }) => [name, float32] as const)

/** Operands of one kernel call; an op leaves out what it has not. */
export interface RowOperands extends RowCall {
  readonly y: Float32Array
  /** Of every matrix; cols * inner unless given. */
  readonly stride?: number
  readonly sum?: Float32Array
  readonly mean?: Statistic
  readonly rstd?: Statistic
}

/** A row operation under test. */
export interface RowOp {
  readonly name: 'layer_norm' | 'rms_norm'
  /** Subtracts the mean, and has a bias. */
  readonly centred: boolean
  call(kernels: Kernels, operands: RowOperands): void
  model(call: RowCall): RowResult
}

type Arrays = { readonly [name: string]: Statistic | undefined }

/** Equality: for every case of src/cases the bits of the model, and all of them together the golden hash. */
export function testCases<Given extends { readonly name: string }>(
  op: keyof Kernels,
  model: (given: Given) => Arrays
): void {
  const expected = new Map<string, Arrays>()

  describe.each(backendsHere)(`equality: ${op} on %s`, (_, kernels) => {
    it('gives the bits of NUMERICS.md for every case', () => {
      for (const given of cases[op].all()) {
        const result = cases[op].run(kernels, given)
        const right = expected.get(given.name) ?? model(given as Given)
        expected.set(given.name, right)
        for (const [name, array] of Object.entries(result)) {
          const wanted = right[name]
          if (array && wanted) expectSameBits(array, wanted, `${given.name}: ${name}`)
          else if (array) expect.fail(`${given.name}: the model has no ${name}`)
        }
      }
    })

    it('reproduces the golden hashes', () => {
      expect(goldenOf(op, kernels)).toEqual((golden as { [name: string]: unknown })[op])
    })
  })
}

/** Fails unless two arrays have the same bits (any NaN for any NaN); names the first that differs. */
export function expectSameBits(actual: Statistic, expected: Statistic, what: string) {
  const at = firstDifference(actual, expected)
  if (at >= 0) expect.fail(`${what}: [${at}] is ${actual[at]}, expected ${expected[at]}`)
}

/** Bits as a string, to compare many calls with one. */
export const bitString = (array: Statistic) => bits(array).join(' ')

/** Memory of n elements that starts `offset` elements into a buffer, with marks around it. */
export function guarded<Items extends Statistic = Float32Array>(
  n: number,
  offset: number,
  from?: Items
): { array: Items; intact: () => boolean } {
  const mark = 12345.5
  const Class = (from?.constructor ?? Float32Array) as Float32ArrayConstructor
  const all = new Class(offset + n + 64).fill(mark)
  const array = all.subarray(offset, offset + n)
  array.set(from ?? new Float32Array(n))
  const around = [...all.keys()].filter(i => i < offset || i >= offset + n)
  return { array: array as Statistic as Items, intact: () => around.every(i => all[i] === mark) }
}

const sumOf = (a: Float32Array, b: Float32Array) => a.map((value, i) => value + b[i])

/** The result of one call on contiguous matrices; rows that are groups unless there is `inner`. */
function run(op: RowOp, kernels: Kernels, x: Float32Array, cols: number, more: Partial<RowOperands> = {}) {
  const inner = more.inner ?? 1
  const rows = x.length / (cols * inner)
  const y = new Float32Array(x.length)
  const result = { y, mean: new Float64Array(rows * inner), rstd: new Float64Array(rows * inner) }
  op.call(kernels, { ...result, x, rows, cols, eps: 1e-5, ...more })
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
          const { y, rstd } = run(op, kernels, x, cols)
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
        const whole = run(op, kernels, x, cols, { inner })
        for (let from = 0; from < inner; from += 1 + (from % 5)) {
          // At least two: one column alone would be a row.
          const width = Math.min(inner - from, 2 + (from % 7))
          if (width < 2) continue
          const part = (of: Float32Array) =>
            Float32Array.from(
              { length: cols * width },
              (_, i) => of[Math.floor(i / width) * inner + from + (i % width)]
            )
          const alone = run(op, kernels, part(x), cols, { inner: width })
          expectSameBits(alone.y, part(whole.y), `columns ${from} to ${from + width} of ${cols} x ${inner}`)
          expectSameBits(alone.rstd, whole.rstd.slice(from, from + width), 'rstd')
        }
      }
    })

    it('gives a row the same bits alone, in a batch, and at any offset in memory', () => {
      for (const cols of [1, 7, 16, 33, 100, 768, 4097]) {
        const x = fill(normal, 9 * cols, cols)
        const weight = fill(ordinaryWeights, cols, 1)
        const whole = run(op, kernels, x, cols, { weight, bias: weight })
        for (let row = 0; row < 9; row++) {
          const from = x.subarray(row * cols, (row + 1) * cols)
          const to = guarded(cols, row)
          const moved = guarded(cols, 16 - row, from).array
          const w = guarded(cols, row + 3, weight).array
          op.call(kernels, { y: to.array, x: moved, weight: w, bias: w, rows: 1, cols, eps: 1e-5 })
          expectSameBits(to.array, whole.y.subarray(row * cols, (row + 1) * cols), `${cols} columns, row ${row}`)
        }
      }
    })

    it('writes its outputs and nothing around them, at every length and offset', () => {
      for (const cols of lengths.filter(n => n <= 300)) {
        const y = guarded(2 * cols, cols % 5)
        const sum = guarded(2 * cols, cols % 3)
        const x = fill(normal, 2 * cols, cols)
        op.call(kernels, { y: y.array, sum: sum.array, x, residual: x, rows: 2, cols, eps: 1e-5 })
        expect(y.intact() && sum.intact(), `${cols} columns`).toBe(true)
        expectSameBits(sum.array, sumOf(x, x), `sum of ${cols} columns`)
        // The same memory as one matrix of two rows, whose columns are the groups.
        op.call(kernels, { y: y.array, sum: sum.array, x, residual: x, rows: 1, cols: 2, inner: cols, eps: 1e-5 })
        expect(y.intact() && sum.intact(), `${cols} inner columns`).toBe(true)
        expectSameBits(y.array, op.model({ x: sumOf(x, x), rows: 1, cols: 2, inner: cols, eps: 1e-5 }).y, 'columns')
      }
    })

    it('reads and writes rows at any stride and leaves what lies between them', () => {
      const [rows, cols, stride] = [3, 21, 64]
      const x = fill(normal, rows * stride, 5)
      const y = new Float32Array(rows * stride).fill(7)
      const sum = new Float32Array(rows * stride).fill(7)
      op.call(kernels, { y, sum, x, residual: x, rows, cols, stride, eps: 1e-5 })
      for (let at = 0; at < rows * stride; at += stride) {
        const twice = x.slice(at, at + cols).map(value => value + value)
        expectSameBits(y.subarray(at, at + cols), run(op, kernels, twice, cols).y, `row at ${at}`)
        expectSameBits(sum.subarray(at, at + cols), twice, `sum at ${at}`)
        expect(y.subarray(at + cols, at + stride).every(value => value === 7)).toBe(true)
      }
    })

    it('gives the same bits in place as out of place, with and without a residual', () => {
      for (const cols of [5, 16, 100, 768]) {
        const x = fill(normal, 4 * cols, 1)
        const residual = fill(normal, 4 * cols, 2)
        const inPlace = x.slice()
        op.call(kernels, { y: inPlace, x: inPlace, rows: 4, cols, eps: 1e-5 })
        expectSameBits(inPlace, run(op, kernels, x, cols).y, 'out is x')
        inPlace.set(x)
        op.call(kernels, { y: inPlace, x: inPlace, rows: 1, cols: 4, inner: cols, eps: 1e-5 })
        expectSameBits(inPlace, run(op, kernels, x, 4, { inner: cols }).y, 'out is x, columns')

        const sum = sumOf(x, residual)
        const fused = run(op, kernels, sum, cols).y
        const places = ['x', 'residual', ''] as const
        for (const outIs of places) {
          for (const sumIs of places.filter(place => place !== outIs || place === '')) {
            const own = { x: x.slice(), residual: residual.slice() }
            const y = outIs ? own[outIs] : new Float32Array(4 * cols)
            const kept = sumIs ? own[sumIs] : undefined
            op.call(kernels, { ...own, y, sum: kept, rows: 4, cols, eps: 1e-5 })
            expectSameBits(y, fused, `out is ${outIs || 'new'}, sum is ${sumIs || 'none'}`)
            if (kept) expectSameBits(kept, sum, `sum is ${sumIs}`)
          }
        }
      }
    })

    it('rounds float32 statistics from the float64 ones', () => {
      const x = fill(normal, 5 * 100, 4)
      const exact = run(op, kernels, x, 100)
      const mean = new Float32Array(5)
      const rstd = new Float32Array(5)
      run(op, kernels, x, 100, { mean, rstd })
      if (op.centred) expectSameBits(mean, Float32Array.from(exact.mean), 'mean')
      expectSameBits(rstd, Float32Array.from(exact.rstd), 'rstd')
    })
  })
}

/** Truth: the bound that NUMERICS.md argues, `roundings` + 0.1 half ulps and one more for the weight and for the bias. */
export function testRowTruth(op: RowOp, roundings: number): void {
  const [, kernels] = backendsHere[0]
  const forms = [
    { name: 'no weight, no bias', more: 0 },
    { name: 'weight', more: 1, weights: ordinaryWeights },
    { name: 'weight and bias', more: 2, weights: ordinaryWeights, biases: normal },
    { name: 'wild weight and bias', more: 2, weights: wildWeights, biases: wildWeights }
  ].filter(({ biases }) => op.centred || biases !== normal)

  describe(`truth: ${op.name}`, () => {
    it.each(Object.keys(finiteRows) as (keyof typeof finiteRows)[])('keeps the bound for rows of %s', kind => {
      for (const cols of [1, 2, 3, 16, 100, 768, 4097]) {
        for (const [seed, eps] of [1e-5, 0, 1e-12, 1, 1e40].entries()) {
          const x = fill(finiteRows[kind], cols, seed + cols)
          const truth = normalise(x, eps, op.centred)
          if (!truth) continue // 0/0
          for (const { name, more, weights, biases } of forms) {
            const weight = weights && fill(weights, cols, seed + 1)
            const bias = op.centred && biases ? fill(biases, cols, seed + 2) : undefined
            const { y, mean, rstd } = run(op, kernels, x, cols, { weight, bias, eps })
            const where = `${cols} columns, eps ${eps}, ${name}`
            const bound = roundings + (op.centred ? more : Math.min(more, 1)) + 0.1
            expect(errorInHalfUlps(y, truth, weight, bias), where).toBeLessThanOrEqual(bound)
            if (op.centred) expect(meanErrorInHalfUlps(mean[0], x, truth), where).toBeLessThanOrEqual(262 + cols / 4096)
            expect(Math.abs(rstd[0] / truth.rstd - 1), where).toBeLessThanOrEqual(2 ** -28)
          }
        }
      }
    })

    it('keeps the bound for columns of every kind side by side, and for columns of many rows', () => {
      const names = Object.keys(finiteRows) as (keyof typeof finiteRows)[]
      for (const cols of [1, 2, 3, 64, 65, 300, 4097]) {
        const inner = names.length
        const columns = names.map((name, k) => fill(finiteRows[name], cols, cols + k))
        const x = Float32Array.from({ length: cols * inner }, (_, at) => columns[at % inner][Math.floor(at / inner)])
        const weight = fill(ordinaryWeights, cols, 1)
        const bias = op.centred ? fill(normal, cols, 2) : undefined
        const { y, mean, rstd } = run(op, kernels, x, cols, { inner, weight, bias, eps: 1e-12 })
        columns.forEach((column, k) => {
          const truth = normalise(column, 1e-12, op.centred)
          if (!truth) expect.fail('eps keeps every column from 0/0')
          const of = column.map((_, i) => y[i * inner + k])
          const where = `${names[k]}, ${cols} rows`
          const bound = roundings + (op.centred ? 2 : 1) + 0.1
          expect(errorInHalfUlps(of, truth, weight, bias), where).toBeLessThanOrEqual(bound)
          if (op.centred)
            expect(meanErrorInHalfUlps(mean[k], column, truth), where).toBeLessThanOrEqual(262 + cols / 4096)
          expect(Math.abs(rstd[k] / truth.rstd - 1), where).toBeLessThanOrEqual(2 ** -28)
        })
      }
    })

    it.each([16384, 65536])('keeps the bound for ordinary and hostile rows of %i', cols => {
      for (const kind of ['N(0,1)', 'N(1e3,1)', 'N(1e6,1)', 'N(0,1e20)', 'uniform +-3.3e38', 'log-uniform'] as const) {
        const x = fill(finiteRows[kind], cols, 3)
        const truth = normalise(x, 1e-5, op.centred)
        expect(truth && errorInHalfUlps(run(op, kernels, x, cols).y, truth), kind).toBeLessThanOrEqual(roundings + 0.1)
      }
    })
  })
}
