// The calls of permute: orders of every kind of up to five dimensions, small ones and such as fill tiles.
import type { Axes } from '../kernels/operands.js'
import { fill, finiteRows, random } from './data.js'
import { all } from './rows.js'

/** Operands of one call. */
export interface PermuteCase {
  readonly name: string
  readonly x: Float32Array
  readonly shape: Axes
}

const shapes: readonly (readonly number[])[] = [
  [7],
  [3, 5],
  [40, 33],
  [64, 16],
  [2, 3, 4],
  [5, 17, 33],
  [16, 16, 16],
  [3, 1, 5, 7],
  [2, 3, 4, 5, 6]
]

/** Each shape in several orders, there (dense y) and back (dense x). */
export function* permuteCases(isTaken = all): Generator<PermuteCase> {
  let seed = 0
  let index = 0
  for (const dims of shapes) {
    for (let k = 0; k < 6; k++) {
      const next = random(++seed)
      const order = dims
        .map((_, i) => ({ i, at: next() }))
        .sort((a, b) => a.at - b.at)
        .map(({ i }) => i)
      const dense = (dims: readonly number[]) =>
        dims.map((_, i) => dims.slice(i + 1).reduce((size, dim) => size * dim, 1))
      const moved = order.map(i => dims[i])
      const xStrides = order.map(i => dense(dims)[i])
      const yStrides = dense(moved)
      const x = fill(
        finiteRows['log-uniform'],
        dims.reduce((size, dim) => size * dim, 1),
        seed
      )
      if (isTaken(index++)) {
        yield { name: `[${dims}] as ${order}, ${seed}`, x, shape: { dims: moved, xStrides, yStrides } }
      }
      if (isTaken(index++)) {
        const back = { dims: moved, xStrides: yStrides, yStrides: xStrides }
        yield { name: `[${dims}] from ${order}, ${seed}`, x, shape: back }
      }
    }
  }
}
