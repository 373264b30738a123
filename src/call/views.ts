// Views: tensors whose elements do not stand one behind the other, and inputs that are broadcast.
import {
  bufferOf,
  byteLengthOf,
  byteOffsetOf,
  elementTypeOf,
  lengthOf,
  type Rows,
  storageOfType,
  storedOver,
  subarrayOf,
  typedArrayKind
} from '../kernels/arrays.js'
import { bytesOfType } from '../kernels/elements.js'
import { type Groups, MOST_AXES } from '../kernels/operands.js'
import { eachRow } from '../kernels/stage.js'
import { copied } from './arrays.js'
import { describe, wrongType, wrongValue } from './errors.js'

/** Where the elements of a tensor stand in its data: element [i, j] at offset + i * strides[0] + j * strides[1]. */
export interface Layout {
  readonly strides: readonly number[]
  readonly offset: number
  /** Whether they are those of a dense tensor. */
  readonly dense: boolean
}

/** The strides of a dense row-major tensor. */
export function denseStrides(dims: readonly number[]): number[] {
  const strides: number[] = new Array(dims.length)
  let dense = 1
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    strides[axis] = dense
    dense *= dims[axis]
  }
  return strides
}

/** Reads `strides` and `offset` of a tensor; undefined where it has neither. */
export function readLayout(op: string, what: string, tensor: object, dims: readonly number[]): Layout | undefined {
  const { strides, offset } = tensor as { readonly strides?: unknown; readonly offset?: unknown }
  const hasStrides = strides !== undefined && strides !== null && typeof strides !== 'function'
  const hasOffset = offset !== undefined && offset !== null && typeof offset !== 'function'
  if (!hasStrides && !hasOffset) return undefined
  const dense = denseStrides(dims)
  const read = hasStrides ? integers(op, `${what}.strides`, strides as ArrayLike<unknown>) : dense
  if (read.length !== dims.length) {
    throw wrongValue(op, `${what}.strides`, `${dims.length} of them, one for each dim`, describe(read))
  }
  const first = hasOffset ? integers(op, `${what}.offset`, [offset])[0] : 0
  // Whatever they say of dims of 1, nothing stands anywhere else; and of no elements nothing stands anywhere.
  let same = true
  for (let axis = 0; same && axis < dims.length; axis++) same = dims[axis] === 1 || read[axis] === dense[axis]
  same ||= dims.includes(0)
  return { strides: read, offset: first, dense: same && first === 0 }
}

function integers(op: string, what: string, given: ArrayLike<unknown>): number[] {
  const read = copied(op, what, given) as number[]
  for (let i = 0; i < read.length; i++) {
    read[i] = Number(read[i])
    if (!(Number.isSafeInteger(read[i]) && read[i] >= 0)) throw wrongValue(op, what, 'integers >= 0', describe(read[i]))
  }
  return read
}

/** Throws unless a tensor's data has all its elements. */
export function checkWithin(
  op: string,
  what: string,
  length: number,
  dims: readonly number[],
  strides: readonly number[],
  offset: number
): void {
  if (dims.includes(0)) return
  const last = offset + lastOf(dims, strides)
  if (!(last < length)) {
    throw wrongValue(op, `${what}.data.length`, `at least ${last + 1} (dims, strides and offset)`, String(length))
  }
}

/** How far what stands last is from what stands first. */
function lastOf(dims: readonly number[], strides: readonly number[]): number {
  let last = 0
  for (let axis = 0; axis < dims.length; axis++) last += (dims[axis] - 1) * strides[axis]
  return last
}

/** An operand of a call over rows, as it was read. */
export interface ViewOperand {
  /** All of its data. */
  readonly data: Float32Array
  /** Undefined where it has x's. */
  readonly dims: readonly number[] | undefined
  readonly layout: Layout | undefined
}

/** The operands of a call over rows that may be views. */
export type RowOperand = 'x' | 'residual' | 'sum' | 'out'

/** The rows of an operand in memory. */
export interface RowLayout extends Rows {
  /** Elements of a row. */
  readonly size: number
}

/** What of an operand a kernel gets. */
export interface PlacedRows {
  readonly array: Float32Array
  /** Elements from one row to the next, where the kernel is to be told. */
  readonly stride: number | undefined
  /** Undefined where it is dense. */
  readonly rows: RowLayout | undefined
}

/** The operands that {@link placeRows} takes. */
type ViewOperands = { readonly [name in RowOperand]: ViewOperand | undefined } & { readonly x: ViewOperand }

/**
 * The rows of the operands of a call, of which at least one is a view or is broadcast to the dims of x. Groups must be rows: the
 * last dims of x.
 */
export function placeRows(
  op: string,
  { x, residual, sum, out }: ViewOperands,
  dims: readonly number[],
  { size }: Groups
): { [name in RowOperand]: PlacedRows | undefined } {
  let rank = dims.length
  for (let n = 1; n < size; ) n *= dims[--rank]
  const dense = denseStrides(dims)
  const stridesOfX = stridesAlong(op, 'x', x, dims, dense, rank)
  // What was read as x is in x's place.
  const isX = (operand: ViewOperand) => operand.layout !== undefined && operand.layout === x.layout
  const strides = (name: RowOperand, operand: ViewOperand | undefined) =>
    operand && (isX(operand) ? stridesOfX : stridesAlong(op, name, operand, dims, dense, rank))
  const [ofResidual, ofSum, ofOut] = [strides('residual', residual), strides('sum', sum), strides('out', out)]
  const merged = merge(dims, rank, [stridesOfX, ofResidual, ofSum, ofOut])
  if (merged.dims.length > MOST_AXES) {
    throw wrongValue(op, 'x.strides', `views of at most ${MOST_AXES} dimensions`, String(merged.dims.length))
  }
  const rowsOf = (here: readonly number[]) => {
    return { size, dims: merged.dims, strides: merged.axes.map(axis => here[axis]) }
  }
  const rowsOfX = rowsOf(stridesOfX)
  const placeOfX = place(x, rowsOfX)
  const placeOf = (name: RowOperand, operand: ViewOperand | undefined, here: readonly number[] | undefined) => {
    if (!operand || !here) return undefined
    const rows = here === stridesOfX ? rowsOfX : rowsOf(here)
    if (name !== 'residual') checkApart(op, name, rows)
    return isX(operand) ? placeOfX : place(operand, rows)
  }
  return {
    x: placeOfX,
    residual: placeOf('residual', residual, ofResidual),
    sum: placeOf('sum', sum, ofSum),
    out: placeOf('out', out, ofOut)
  }
}

/** The strides of an operand along the dims of x; those of its axes from `rank` on must be those of a dense tensor. */
function stridesAlong(
  op: string,
  name: RowOperand,
  operand: ViewOperand,
  dims: readonly number[],
  dense: readonly number[],
  rank: number
): readonly number[] {
  const { dims: own = dims, layout } = operand
  const given = layout?.strides ?? (own === dims ? dense : denseStrides(own))
  const here = own === dims ? given : broadcast(own, given, dims)
  for (let axis = rank; axis < dims.length; axis++) {
    if (dims[axis] === 1 || here[axis] === dense[axis]) continue
    const expected = `${dense[axis]}: the axes that are normalised over must be contiguous`
    throw wrongValue(op, `${name}.strides[${axis}]`, expected, String(here[axis]))
  }
  return here
}

/** The strides of an operand along the dims of x: 0 where it is broadcast. */
function broadcast(own: readonly number[], strides: readonly number[], dims: readonly number[]): number[] {
  const missing = dims.length - own.length
  return dims.map((dim, axis) => {
    const at = axis - missing
    return at < 0 || (own[at] === 1 && dim !== 1) ? 0 : strides[at]
  })
}

/** The first `rank` dimensions, neighbouring ones as one where every operand's rows stand so: their sizes, and the last axis of each. */
function merge(
  dims: readonly number[],
  rank: number,
  strides: readonly (readonly number[] | undefined)[]
): { dims: number[]; axes: number[] } {
  const merged: number[] = []
  const axes: number[] = []
  for (let axis = 0; axis < rank; axis++) {
    const dim = dims[axis]
    if (dim === 1) continue
    const last = axes.length - 1
    let joins = last >= 0
    for (let i = 0; joins && i < strides.length; i++) {
      const of = strides[i]
      joins = !of || of[axes[last]] === of[axis] * dim
    }
    if (joins) {
      merged[last] *= dim
      axes[last] = axis
    } else {
      merged.push(dim)
      axes.push(axis)
    }
  }
  return { dims: merged, axes }
}

function place({ data, layout }: ViewOperand, rows: RowLayout): PlacedRows {
  const { size, dims, strides } = rows
  if (dims.includes(0)) return { array: subarrayOf(data, 0, 0), stride: undefined, rows: undefined }
  const extent = size + lastOf(dims, strides)
  const type = elementTypeOf(data)
  const begin = byteOffsetOf(data) + bytesOfType(type) * (layout?.offset ?? 0)
  const simple = dims.length === 0 || (dims.length === 1 && strides[0] >= size)
  const storage = simple ? storageOfType(type) : { type, rows: { dims, strides } }
  const array = storedOver(storage, bufferOf(data), begin, extent)
  if (simple && (dims.length === 0 || strides[0] === size)) return { array, stride: undefined, rows: undefined }
  return { array, stride: simple ? strides[0] : undefined, rows }
}

/** Throws unless no two rows of a place share memory. */
function checkApart(op: string, name: string, rows: RowLayout): void {
  if (isNested(rows)) return
  const { size, dims, strides } = rows
  const order = dims.map((_, i) => i).sort((a, b) => strides[a] - strides[b])
  let extent = size
  for (const i of order) {
    if (strides[i] < extent) {
      throw wrongValue(op, `${name}.strides`, `rows that share no memory: ${extent} or more`, String(strides[i]))
    }
    extent += (dims[i] - 1) * strides[i]
  }
}

/** Whether two views of one buffer share an element: none, exactly the same ones in the same order, or some. */
export function sharingOfRows(
  a: ArrayBufferView,
  aRows: RowLayout | undefined,
  b: ArrayBufferView,
  bRows: RowLayout | undefined
): 'none' | 'all' | 'part' {
  if (a === b && aRows === bRows) return 'all'
  const [start, otherStart] = [byteOffsetOf(a), byteOffsetOf(b)]
  const [first, second] = [rowsOf(a, aRows), rowsOf(b, bRows)]
  const same =
    first.size === second.size &&
    first.dims.length === second.dims.length &&
    first.dims.every((dim, i) => dim === second.dims[i] && first.strides[i] === second.strides[i])
  if (same && start === otherStart) return 'all'
  if (same && isNested(first)) return touches(Math.abs(start - otherStart), first, 0) ? 'part' : 'none'
  const [here, there] = [startsOf(start, first), startsOf(otherStart, second)]
  for (let i = 0, k = 0; i < here.length && k < there.length; ) {
    if (here[i] < there[k] + second.size && there[k] < here[i] + first.size) return 'part'
    if (here[i] < there[k]) i++
    else k++
  }
  return 'none'
}

/** Whether each dimension, from the last to the first, goes beyond all rows of those behind it. */
function isNested({ size, dims, strides }: RowLayout): boolean {
  let extent = size
  for (let i = dims.length - 1; i >= 0; i--) {
    if (strides[i] < extent) return false
    extent += (dims[i] - 1) * strides[i]
  }
  return true
}

/** Whether a row of such a view, from a dimension on, shares memory with one of the same rows that begin so much later. */
function touches(later: number, rows: RowLayout, dim: number): boolean {
  if (dim === rows.dims.length) return Math.abs(later) < rows.size
  const stride = rows.strides[dim]
  const nearest = Math.floor(later / stride)
  return [nearest, nearest + 1].some(
    steps => Math.abs(steps) < rows.dims[dim] && touches(later - steps * stride, rows, dim + 1)
  )
}

/** Rows in bytes; an array without has one. */
function rowsOf(array: ArrayBufferView, rows: RowLayout | undefined): RowLayout {
  if (!rows) return { size: byteLengthOf(array), dims: [], strides: [] }
  const bytes = byteLengthOf(array) / lengthOf(array)
  return { size: rows.size * bytes, dims: rows.dims, strides: rows.strides.map(stride => stride * bytes) }
}

/** Where all rows begin, in ascending order. */
function startsOf(start: number, { dims, strides }: RowLayout): Float64Array {
  let starts = Float64Array.of(start)
  for (let i = 0; i < dims.length; i++) {
    if (strides[i] === 0) continue // the same ones again
    const more = new Float64Array(starts.length * dims[i])
    for (let k = 0; k < starts.length; k++) {
      for (let j = 0; j < dims[i]; j++) more[k * dims[i] + j] = starts[k] + j * strides[i]
    }
    starts = more
  }
  return starts.sort()
}

/** Copies rows that stand one behind the other to where those of a view stand. */
export function scatterRows(to: Float32Array, from: Float32Array, rows: RowLayout): void {
  const { size } = rows
  eachRow(rows, (offset, row) => {
    for (let i = 0; i < size; i++) to[offset + i] = from[row * size + i]
  })
}

/** Throws for a view where only dense tensors are taken. */
export function refuseView(op: string, what: string, layout: Layout | undefined, dims: readonly number[]): void {
  if (!layout || layout.dense) return
  const hint = 'copy the elements to dense memory first'
  if (layout.offset !== 0) throw wrongValue(op, `${what}.offset`, `0 (${hint})`, describe(layout.offset))
  const expected = `[${denseStrides(dims).join(', ')}], those of dense row-major memory (${hint})`
  throw wrongValue(op, `${what}.strides`, expected, describe(layout.strides))
}

/** Throws unless a tensor is dense. */
export function checkDense(op: string, what: string, tensor: object, dims: readonly number[]): void {
  refuseView(op, what, readLayout(op, what, tensor, dims), dims)
}

/** `transfer` takes whole arrays. */
export function refuseTransfer(op: string, rows: RowLayout | undefined): void {
  if (rows) throw wrongType(op, 'x', 'a dense tensor, because transfer is given', 'a view')
}

/** What {@link view} is told. */
export interface ViewOptions {
  /** Size of each dimension. */
  readonly dims: readonly number[]
  /** How many elements there are from one index of each dimension to the next; 0 shows the same ones again. Default: those of a dense tensor. */
  readonly strides?: readonly number[] | undefined
  /** Where the first element is. Default: 0. */
  readonly offset?: number | undefined
}

/** What {@link view} returns: a tensor over the same memory. */
export interface View<Data = unknown> {
  /** The array that the view is of. */
  readonly data: Data
  /** Size of each dimension. */
  readonly dims: readonly number[]
  /** How many elements there are from one index of each dimension to the next. */
  readonly strides: readonly number[]
  /** Where the first element is. */
  readonly offset: number
  /** Type of the elements, where the view is of a tensor that has one. */
  readonly type?: string
}

/**
 * Some elements of an array or a tensor as a tensor of their own, without a copy: a slice of heads, every second row, one row many
 * times. layerNorm, rmsNorm, normalize and their layers take views as x, residual, `sum` and `out`; what is normalised over must be
 * contiguous. Nothing between the rows of a view is read or written.
 *
 * @param of a Float32Array, a Float16Array, a Uint16Array of bits, or a tensor, whose `data` is meant
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, also where an element is beyond the data
 * @example
 * ```ts
 * import { rmsNorm, view } from 'evenkeel'
 *
 * // queries, keys and values of two tokens, one head of two numbers each: [tokens, 3, heads, 2]
 * const qkv = Float32Array.of(1, 1, 5, 5, 7, 7, 3, -3, 5, 5, 7, 7)
 * const queries = view(qkv, { dims: [2, 1, 2], strides: [6, 2, 1] })
 * rmsNorm(queries, 2, { eps: 0, out: queries }) // in place
 * console.log(qkv.join(' ')) // 1 1 5 5 7 7 1 -1 5 5 7 7
 * ```
 */
export function view<Data extends ArrayBufferView>(
  of: Data | { readonly data: Data; readonly type?: string | undefined },
  options: ViewOptions
): View<Data> {
  const op = 'view'
  const isArray = typedArrayKind(of) !== undefined
  if (!isArray && !isObject(of)) throw wrongType(op, 'of', 'an array or a tensor { data, dims }', describe(of))
  const { data, type } = isArray ? { data: of as Data, type: undefined } : (of as { data: Data; type?: string })
  if (typedArrayKind(data) === undefined) throw wrongType(op, 'of.data', 'a typed array', describe(data))
  if (!isObject(options)) throw wrongType(op, 'options', 'an object with dims', describe(options))
  const dims = integers(op, 'dims', options.dims)
  const given = { strides: options.strides, offset: options.offset }
  const { strides, offset } = readLayout(op, op, given, dims) ?? { strides: denseStrides(dims), offset: 0 }
  checkWithin(op, 'of', lengthOf(data), dims, strides, offset)
  return type === undefined ? { data, dims, strides, offset } : { data, dims, strides, offset, type }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
