// What the equality tests of backward kernels over rows share.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal, ordinaryWeights } from '../../../dist/esm/cases/data.js'
import type { RowGradientCase } from '../../../dist/esm/cases/gradients.js'
import type { Spans, Statistic } from '../../../dist/esm/kernels/operands.js'
import { backendsHere } from '../backends.ts'
import { expectSameBits } from '../bits.ts'
import { testCases } from '../cases.ts'
import { guarded } from '../memory.ts'
import { type GradientOp, type Make, runBackward } from './calls.ts'

type Results = { readonly [output: string]: Statistic }

/** A backward kernel over rows under test. */
export interface RowBackward {
  readonly name: Extract<GradientOp, 'layer_norm_backward' | 'rms_norm_backward' | 'normalize_backward'>
  readonly model: (given: RowGradientCase) => Results
  /** The statistics of rows, as the forward writes them; undefined where the kernel takes none. */
  readonly saved?: (x: Float32Array, size: number) => { mean?: Float64Array; rstd: Float64Array }
}

/** Fails unless two results are the same, all or some of them. */
export function expectSame(actual: Results, expected: Results, what: string, names = Object.keys(expected)) {
  for (const name of names) expectSameBits(actual[name], expected[name], `${what}: ${name}`)
}

/** An ordinary call of some rows, with everything that an op may take. */
export function rowCall(rows: number, size: number, seed: number) {
  const x = fill(finiteRows['N(3,0.5)'], rows * size, seed)
  return {
    name: `${rows} x ${size}`,
    x,
    dy: fill(normal, rows * size, seed + 1),
    dsum: seed % 2 === 1 ? fill(normal, rows * size, seed + 2) : undefined,
    weight: seed % 3 === 1 ? undefined : fill(ordinaryWeights, size, seed + 3),
    mean: undefined,
    rstd: undefined,
    shape: { outer: rows, size, inner: 1, spans: undefined as Spans },
    eps: 1e-5,
    residualScale: seed % 4 === 1 ? 0.3 : 1,
    counted: seed % 5 === 2 ? Math.ceil(size / 2) : size,
    keepsSum: true,
    rule: seed % 5,
    factor: 0.3
  }
}

/** Spans of the rows that are real. */
function spansOf(real: readonly boolean[]): Spans {
  const list = real.flatMap((is, row) => (is ? [row, row + 1] : []))
  return Int32Array.from([2, 2 + list.length, ...list])
}

/** Rows of an array for which `real` is true. */
const rowsWhere = (array: Float32Array, size: number, real: readonly boolean[]) =>
  array.filter((_, at) => real[Math.floor(at / size)])

export function testRowBackward(op: RowBackward): void {
  testCases<RowGradientCase>(op.name, op.model)

  describe.each(backendsHere)(`equality: ${op.name} on %s`, (_, kernels) => {
    const run = (given: ReturnType<typeof rowCall>) => runBackward(op.name, kernels, given)
    const perRow = ['dx', 'dresidual', 'dots'].filter(name => name in run(rowCall(1, 1, 1)))
    const sizes = [1, 7, 16, 33, 100, 768, 4097]

    it('gives a row the same bits alone, in a batch, and at any offset in memory', () => {
      for (const size of sizes) {
        const given = rowCall(5, size, size)
        const whole = run(given)
        for (let row = 0; row < 5; row++) {
          const part = (array: Float32Array | undefined) => array?.subarray(row * size, (row + 1) * size)
          const moved = (array: Float32Array | undefined, offset: number) =>
            array && guarded(array.length, offset % 17, array).array
          const places: { intact: () => boolean }[] = []
          const make: Make = (n, Class) => {
            const place = guarded(n, (row * 5 + places.length) % 9, new Class(n))
            places.push(place)
            return place.array
          }
          const alone = {
            ...given,
            x: moved(part(given.x), row) as Float32Array,
            dy: moved(part(given.dy), 16 - row) as Float32Array,
            dsum: moved(part(given.dsum), row + 3),
            weight: moved(given.weight, row + 5),
            shape: { ...given.shape, outer: 1 }
          }
          const one = runBackward(op.name, kernels, alone, {}, make)
          for (const name of perRow) {
            const n = whole[name].length / 5
            expectSameBits(
              one[name],
              whole[name].slice(row * n, (row + 1) * n),
              `${name} of row ${row}, ${size} elements`
            )
          }
          expect(
            places.every(({ intact }) => intact()),
            `around the results of row ${row}, ${size} elements`
          ).toBe(true)
        }
      }
    })

    it('gives the same bits where dx is dy', () => {
      for (const size of sizes) {
        const given = rowCall(4, size, size + 1)
        const dy = given.dy.slice()
        const inPlace = runBackward(op.name, kernels, { ...given, dy }, { dx: dy })
        expectSame(inPlace, run(given), `${size} elements`)
      }
    })

    it('takes padding out before anything is numbered', () => {
      for (const [rows, size] of [
        [5, 16],
        [70, 3],
        [300, 5],
        [9, 100]
      ]) {
        const masks = [
          (row: number) => row % 3 !== 1,
          (row: number) => row < rows / 2,
          () => false,
          () => true,
          (row: number) => row === 4,
          (row: number) => row % 64 > 20
        ]
        for (const [k, mask] of masks.entries()) {
          const given = rowCall(rows, size, k + size)
          const real = Array.from({ length: rows }, (_, row) => mask(row))
          const padded = run({ ...given, shape: { ...given.shape, spans: spansOf(real) } })
          const cut = (array: Float32Array | undefined) => array && rowsWhere(array, size, real)
          const x = cut(given.x) as Float32Array
          const dy = cut(given.dy) as Float32Array
          const dense = run({
            ...given,
            x,
            dy,
            dsum: cut(given.dsum),
            shape: { ...given.shape, outer: x.length / size }
          })
          for (const [name, array] of Object.entries(dense)) {
            const own = padded[name]
            if (!perRow.includes(name)) expectSameBits(own, array, `${rows} x ${size}, mask ${k}: ${name}`)
            else {
              const n = own.length / rows
              const here = own.filter((_: number, at: number) => real[Math.floor(at / n)])
              const there = own.filter((_: number, at: number) => !real[Math.floor(at / n)])
              expectSameBits(here, array, `${rows} x ${size}, mask ${k}: ${name}`)
              expectSameBits(there, there.slice().fill(0), `${rows} x ${size}, mask ${k}: padding of ${name}`)
            }
          }
        }
      }
    })

    const { saved } = op
    if (saved)
      it('gives the same bits with the statistics of the forward as without them', () => {
        for (const size of sizes) {
          const given = { ...rowCall(4, size, size + 2), counted: size }
          expectSame(run({ ...given, ...saved(given.x, size) } as never), run(given), `${size} elements`)
        }
      })
  })
}
