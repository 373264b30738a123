// The gradients over axes of a tensor, which are copied into rows where they are none.
import { describe, expect, it } from 'vitest'
import { fill, finiteRows, normal } from '../../../dist/esm/cases/data.js'
import type { Statistic } from '../../../dist/esm/kernels/operands.js'
import { expectSameBits } from '../bits.ts'
import { expectEqual, expectModel, type RowFunction } from './results.ts'

/** Dims, axes to normalise over, and whether rule 14 makes their groups columns: the groups behind each other in memory. */
const axes: { dims: number[]; axis: number | number[]; columns?: [outer: number, inner: number] }[] = [
  { dims: [4, 6, 5], axis: 1, columns: [4, 5] },
  { dims: [4, 6, 5], axis: 0, columns: [1, 30] },
  { dims: [4, 6, 5], axis: -1 },
  { dims: [4, 6, 5], axis: [2, 1] },
  { dims: [4, 6, 5], axis: [0, 1], columns: [1, 5] },
  { dims: [4, 6, 5], axis: [0, 2] },
  { dims: [3, 4, 5, 6], axis: [0, 2, 3] },
  { dims: [3, 4, 5, 6], axis: [1, 3] },
  { dims: [3, 4, 1, 1], axis: 1 },
  { dims: [2, 70, 3], axis: 1, columns: [2, 3] },
  { dims: [90, 3, 2], axis: 1, columns: [90, 2] }
]

/** The places of each group's elements, both in row-major order of their indices. */
function placesOf(dims: readonly number[], axis: number | number[]): number[][] {
  const own = [axis].flat().map(one => (one < 0 ? one + dims.length : one))
  const groups = new Map<string, number[]>()
  const count = dims.reduce((product, dim) => product * dim, 1)
  for (let place = 0; place < count; place++) {
    const index = dims.map((dim, d) => Math.floor(place / dims.slice(d + 1).reduce((size, one) => size * one, 1)) % dim)
    const key = index.filter((_, d) => !own.includes(d)).join()
    groups.set(key, [...(groups.get(key) ?? []), place])
  }
  return [...groups.values()]
}

/** Where the weight of each element of a group stands: its axes are in the order in which they are given. */
function weightPlaces(dims: readonly number[], axis: number | number[]): number[] {
  const own = [axis].flat().map(one => (one < 0 ? one + dims.length : one))
  const ascending = [...own].sort((a, b) => a - b)
  const size = own.reduce((product, one) => product * dims[one], 1)
  return Array.from({ length: size }, (_, i) => {
    const index = new Map<number, number>()
    ascending.reduceRight((rest, one) => {
      index.set(one, rest % dims[one])
      return Math.floor(rest / dims[one])
    }, i)
    return own.reduce((at, one) => at * dims[one] + (index.get(one) as number), 0)
  })
}

/** Equality: over any axes the bits of the groups as rows. */
export function testRowAxes(op: RowFunction): void {
  const data = (n: number, seed: number) => fill(normal, n, seed)

  describe(`equality: ${op.name} over axes`, () => {
    it.each(axes)('$dims over $axis: gives the bits of the groups as rows', ({ dims, axis, columns }) => {
      const places = placesOf(dims, axis)
      const n = places[0].length
      const of = weightPlaces(dims, axis)
      const total = places.length * n
      const given = { dims, data: fill(finiteRows['N(1e3,1)'], total, 6) }
      const arriving = { dims, data: data(total, 7) }
      for (const [i, form] of op.forms(n).entries()) {
        const own = form.operands ?? {}
        const weight = own.weight && Float32Array.from(of, at => (own.weight as Float32Array)[at])
        const flat = places.flat()
        const copied = (array: Float32Array) => Float32Array.from(flat, at => array[at])
        const shape = columns
          ? { outer: columns[0], size: n, inner: columns[1] }
          : { outer: places.length, size: n, inner: 1 }
        const operands = columns
          ? { x: given.data, dy: arriving.data }
          : { x: copied(given.data), dy: copied(arriving.data) }
        const back = (values: ArrayLike<number>) => {
          if (columns) return values
          const dx = new Float32Array(total)
          flat.forEach((at, k) => {
            dx[at] = values[k]
          })
          return dx
        }
        const call = { eps: op.eps, ...form.operands, ...operands, weight, shape }
        const rounded = op.model(call)
        const expected: { [name: string]: Statistic | undefined } = { ...rounded }
        expected.dx = back(rounded.dx as Float32Array) as Float32Array
        for (const name of ['dweight', 'dbias'] as const) {
          const sums = rounded[name]
          if (!sums) continue
          const ordered = new Float64Array(n)
          of.forEach((at, k) => {
            ordered[at] = sums[k]
          })
          expected[name] = ordered
        }
        const result = op.backward(arriving, given, { axis }, { ...form.layer, ...form.call })
        expectModel(result, expected, `form ${i}`)
        expect(result.dx.dims).toEqual(dims)
        if (op.hasResidual) {
          // What is left of float64 when the rounded gradient is taken off: else the bits of the statistics hardly show.
          const less = { dims, data: result.dx.data.map((value: number) => -value) }
          const dsum = columns ? less.data : copied(less.data)
          const rest = op.backward(arriving, given, { axis }, { ...form.layer, ...form.call, dsum: less })
          expectSameBits(
            rest.dx.data,
            back(op.model({ ...call, dsum }).dx as Float32Array) as Float32Array,
            'what is left'
          )
        }
        // In place as well.
        const inPlace = { dims, data: arriving.data.slice() }
        op.backward(inPlace, given, { axis }, { ...form.layer, ...form.call, dx: inPlace })
        expectSameBits(inPlace.data, result.dx.data, `form ${i}, in place`)
        if (op.saved.length > 0) {
          const saved = Object.fromEntries(op.saved.map(name => [name, new Float64Array(places.length)]))
          op.forward(given, { axis }, { ...form.layer, ...saved })
          expectEqual(
            op.backward(arriving, given, { axis }, { ...form.layer, ...form.call, ...saved }),
            result,
            'saved'
          )
        }
      }
    })
  })
}
