// Groups over the axes of a tensor: rows or columns where the axes are neighbours, a copy in another order where not.
import { describe, wrongType, wrongValue } from './check.js'

/** Axes to normalise over, in place of the trailing dimensions: one or several, negative ones counted from the end. */
export interface Axis {
  readonly axis: number | readonly number[]
}

/** `outer` matrices of `size` rows and `inner` columns: each column is a group; with inner 1 each matrix is. */
export interface Groups {
  readonly outer: number
  readonly size: number
  readonly inner: number
}

/** Where the elements of a tensor stand that is copied so that each group is a row. */
export interface Gathering {
  /** Offset of the first element of each group. */
  readonly bases: Float64Array
  /** Offset of each element of a group from its first. */
  readonly offsets: Float64Array
}

/** Reads `axis`: whole numbers, unique. */
export function readAxes(op: string, axis: unknown): number[] {
  const axes: unknown[] = typeof axis === 'number' ? [axis] : (axis as unknown[])
  const expected = 'an integer or an array of them'
  if (!Array.isArray(axes)) throw wrongType(op, 'axis', expected, describe(axis))
  const copy = axes.slice()
  for (const value of copy) if (typeof value !== 'number') throw wrongType(op, 'axis', expected, describe(axis))
  if (copy.length === 0 || !copy.every(Number.isSafeInteger)) throw wrongValue(op, 'axis', expected, describe(axis))
  return copy as number[]
}

/** The groups over these axes of a tensor, and how to gather them where they are neither rows nor columns. */
export function groupsOver(
  op: string,
  axes: readonly number[],
  dims: readonly number[],
  gather: boolean
): { groups: Groups; gathering: Gathering | undefined } {
  const reduced = dims.map(() => false)
  for (const axis of axes) {
    const index = axis < 0 ? axis + dims.length : axis
    if (!(index >= 0 && index < dims.length)) {
      throw wrongValue(op, 'axis', `integers from ${-dims.length} to ${dims.length - 1}`, describe(axis))
    }
    if (reduced[index]) throw wrongValue(op, 'axis', 'each axis once', describe(axes))
    reduced[index] = true
  }
  const product = (from: number, to: number, which: boolean | undefined) => {
    let size = 1
    for (let i = from; i < to; i++) if (which === undefined || reduced[i] === which) size *= dims[i]
    return size
  }
  const size = product(0, dims.length, true)
  if (size === 0) throw wrongValue(op, 'axis', 'axes with elements', `dims [${dims.join(', ')}]`)
  const counted = dims.map((dim, i) => reduced[i] && dim !== 1)
  const first = counted.indexOf(true)
  // Dimensions of 1 belong to either side; a group of one element is a row.
  const begin = first < 0 ? dims.length : first
  const end = counted.lastIndexOf(true) + 1
  const contiguous = first < 0 || product(begin, end, false) === 1
  const inner = first < 0 ? 1 : product(end, dims.length, undefined)
  if (contiguous && (inner === 1 || !gather)) {
    return { groups: { outer: product(0, begin, undefined), size, inner }, gathering: undefined }
  }
  const gathering = { bases: offsetsOf(dims, reduced, false), offsets: offsetsOf(dims, reduced, true) }
  return { groups: { outer: gathering.bases.length, size, inner: 1 }, gathering }
}

/** Offsets of all positions along the axes that are, or are not, reduced, in row-major order. */
function offsetsOf(dims: readonly number[], reduced: readonly boolean[], which: boolean): Float64Array {
  let offsets = Float64Array.of(0)
  let stride = 1
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    if (reduced[axis] === which) {
      const [inner, step] = [offsets, stride]
      offsets = new Float64Array(inner.length * dims[axis])
      for (let i = 0; i < dims[axis]; i++)
        for (let k = 0; k < inner.length; k++) offsets[i * inner.length + k] = i * step + inner[k]
    }
    stride *= dims[axis]
  }
  return offsets
}

/** A copy in which each group is a row. */
export function gatherGroups(from: Float32Array, { bases, offsets }: Gathering): Float32Array {
  const to = new Float32Array(bases.length * offsets.length)
  let at = 0
  for (const base of bases) for (const offset of offsets) to[at++] = from[base + offset]
  return to
}

/** Puts such rows back in their places. */
export function scatterGroups(from: Float32Array, to: Float32Array, { bases, offsets }: Gathering): void {
  let at = 0
  for (const base of bases) for (const offset of offsets) to[base + offset] = from[at++]
}
