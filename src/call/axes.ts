// Groups over the axes of a tensor: rows or columns where the axes are neighbours, a copy in another order where not.
import { emptyLike } from '../kernels/arrays.js'
import { kernels } from '../kernels/index.js'
import { type Axes, type Groups, MOST_AXES } from '../kernels/operands.js'
import { copied } from './arrays.js'
import { describe, wrongType, wrongValue } from './errors.js'
import { denseStrides } from './views.js'

/** Axes of a tensor to normalise over, in place of its trailing dimensions. */
export interface Axis {
  /** One or several, each once; negative ones count from the end: -1 is the last. weight and bias have the shape of these axes, in this order. */
  readonly axis: number | readonly number[]
}

/** What a call normalizes over. */
export interface GroupShape {
  readonly groups: Groups
  /** Where groups are neither rows nor columns: the copy of x in which each is a row. */
  readonly permutation: Axes | undefined
  /** The dims of a weight, in the order of the axes as they were given. */
  readonly weightDims: readonly number[]
  /** Where that is not the order of the tensor: the copy of a weight that is. */
  readonly weightPermutation: Axes | undefined
}

/** Reads `axis`: whole numbers, unique. */
export function readAxes(op: string, axis: unknown): number[] {
  const axes: unknown[] = typeof axis === 'number' ? [axis] : (axis as unknown[])
  const expected = 'an integer or an array of them'
  if (!Array.isArray(axes)) throw wrongType(op, 'axis', expected, describe(axis))
  const copy = copied(op, 'axis', axes)
  for (const value of copy) if (typeof value !== 'number') throw wrongType(op, 'axis', expected, describe(axis))
  if (copy.length === 0 || !copy.every(Number.isSafeInteger)) throw wrongValue(op, 'axis', expected, describe(axis))
  return copy as number[]
}

/** The axes of a tensor of so many dimensions, counted from the first. */
function positiveAxes(op: string, given: readonly number[], rank: number): number[] {
  const axes: number[] = []
  for (const axis of given) {
    const index = axis < 0 ? axis + rank : axis
    if (!(index >= 0 && index < rank)) {
      throw wrongValue(op, 'axis', `integers from ${-rank} to ${rank - 1}`, describe(axis))
    }
    if (axes.includes(index)) throw wrongValue(op, 'axis', 'each axis once', describe(given))
    axes.push(index)
  }
  return axes
}

/** The groups over these axes of a tensor. With `asRows`, groups that are columns are copied into rows, too. */
export function groupsOver(op: string, given: readonly number[], dims: readonly number[], asRows: boolean): GroupShape {
  const axes = positiveAxes(op, given, dims.length)
  const reduced = dims.map((_, i) => axes.includes(i))
  const product = (from: number, to: number, which: boolean | undefined) => {
    let size = 1
    for (let i = from; i < to; i++) if (which === undefined || reduced[i] === which) size *= dims[i]
    return size
  }
  const size = product(0, dims.length, true)
  if (size === 0) throw wrongValue(op, 'axis', 'axes with elements', `dims [${dims.join(', ')}]`)
  const weightDims = axes.map(axis => dims[axis])
  const ascending = axes.every((axis, i) => i === 0 || axis > axes[i - 1])
  const sorted = [...axes].sort((a, b) => a - b)
  const weightPermutation = ascending
    ? undefined
    : inOrder(
        op,
        weightDims,
        sorted.map(axis => axes.indexOf(axis))
      )
  const weights = { weightDims, weightPermutation }
  // Dimensions of 1 belong to either side; a group of one element is a row.
  const counted = dims.map((dim, i) => reduced[i] && dim !== 1)
  const first = counted.indexOf(true)
  const begin = first < 0 ? dims.length : first
  const end = counted.lastIndexOf(true) + 1
  const contiguous = first < 0 || product(begin, end, false) === 1
  const inner = first < 0 ? 1 : product(end, dims.length, undefined)
  if (contiguous && (inner === 1 || !asRows)) {
    return { groups: { outer: product(0, begin, undefined), size, inner }, permutation: undefined, ...weights }
  }
  const kept = dims.map((_, i) => i).filter(i => !reduced[i])
  const permutation = inOrder(op, dims, [...kept, ...sorted])
  return { groups: { outer: product(0, dims.length, false), size, inner: 1 }, permutation, ...weights }
}

/** The copy of a dense tensor whose dimensions stand in this order; neighbours that stay together are one. */
function inOrder(op: string, dims: readonly number[], order: readonly number[]): Axes {
  const strides = denseStrides(dims)
  const merged: { dim: number; stride: number }[] = []
  for (const axis of order) {
    const last = merged.at(-1)
    if (dims[axis] === 1) continue
    if (last && last.stride === strides[axis] * dims[axis]) {
      last.dim *= dims[axis]
      last.stride = strides[axis]
    } else merged.push({ dim: dims[axis], stride: strides[axis] })
  }
  if (merged.length > MOST_AXES) {
    throw wrongValue(op, 'axis', `axes that cut x into at most ${MOST_AXES} dimensions`, String(merged.length))
  }
  const copy = merged.map(({ dim }) => dim)
  return { dims: copy, xStrides: merged.map(({ stride }) => stride), yStrides: denseStrides(copy) }
}

/** The copy back. */
export function inverse({ dims, xStrides, yStrides }: Axes): Axes {
  return { dims, xStrides: yStrides, yStrides: xStrides }
}

/** A weight in the order of the tensor's axes. */
export function orderedWeight(
  weight: Float32Array | undefined,
  permutation: Axes | undefined
): Float32Array | undefined {
  if (!weight || !permutation) return weight
  const y = emptyLike(weight)
  kernels.permute({ y, x: weight, shape: permutation })
  return y
}
