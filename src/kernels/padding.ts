// Padding of rows and columns (rule 15): a call with spans is a call of the same kernel on the real groups alone. The twin of
// native/threads/divide.h, which divides a call among threads in the same way.
import { subarrayOf } from './arrays.js'
import { clear } from './maps.js'
import {
  countReal,
  endOfSpans,
  FOLD64,
  firstSpan,
  type Groups,
  type Kind,
  kinds,
  type Statistic,
  type SumOverRows,
  spanBegin,
  spanEnd,
  unitOf,
  type Volume
} from './operands.js'
import { type Call, type Kernel, type Op, signatures } from './signatures.js'

/** A part of a call: some of its matrices, and some of the columns of each. */
interface Share {
  readonly first: number
  readonly count: number
  readonly column: number
  readonly columns: number
  /** Real rows before it. */
  readonly done: number
}

/** The same kernel where groups may be padded: those become 0 in all that is written. */
export function overReal<Name extends Op>(op: Name, kernel: Kernel<Name>): Kernel<Name> {
  const signature: { readonly [operand: string]: Kind } = signatures[op]
  return call => {
    const { shape } = call as unknown as { readonly shape: Groups }
    const { spans, outer, inner } = shape
    if (!spans) {
      kernel(call)
      return
    }
    const given = call as unknown as Operands
    const samples = inner === 1 ? 1 : outer
    const positions = inner === 1 ? outer : inner
    for (let sample = 0; sample < samples; sample++) {
      let real = 0
      const share = (begin: number, end: number): Share =>
        inner === 1
          ? { first: begin, count: end - begin, column: 0, columns: 1, done: real }
          : { first: sample, count: 1, column: begin, columns: end - begin, done: 0 }
      let done = 0
      for (let at = firstSpan(spans, sample); at < endOfSpans(spans, sample); at += 2) {
        const begin = spanBegin(spans, at)
        const end = spanEnd(spans, positions, at)
        if (done < begin) clearShare(signature, given, shape, share(done, begin))
        if (begin < end) kernel(shareOf(signature, given, shape, share(begin, end)) as unknown as Call<Name>)
        real += end - begin
        done = end
      }
      if (done < positions) clearShare(signature, given, shape, share(done, positions))
    }
  }
}

interface Operands {
  readonly [operand: string]: unknown
}

const strideOf = (given: Operands, name: string, { size, inner }: Groups) =>
  (given.strides as { readonly [operand: string]: number | undefined } | undefined)?.[name] ?? size * inner

/** The operands of a share. */
function shareOf(
  signature: { readonly [operand: string]: Kind },
  given: Operands,
  shape: Groups,
  { first, count, column, columns, done }: Share
): Operands {
  const pitch = shape.pitch ?? shape.inner
  const strides: { [operand: string]: number } = {}
  const operands: { [operand: string]: unknown } = { ...given, strides, done }
  for (const name of Object.keys(signature)) {
    const array = given[name] as Statistic | undefined
    if (kinds[signature[name]].strided) {
      strides[name] = strideOf(given, name, shape)
      operands[name] = array && subarrayOf(array, first * strides[name] + column)
    } else if (signature[name] === 'perGroup' || signature[name] === 'savedPerGroup') {
      operands[name] = array && subarrayOf(array, first * shape.inner + column)
    }
  }
  operands.shape = { outer: count, size: shape.size, inner: columns, pitch }
  return operands
}

/** 0 in everything that a call writes in a share. */
function clearShare(
  signature: { readonly [operand: string]: Kind },
  given: Operands,
  shape: Groups,
  { first, count, column, columns }: Share
): void {
  const pitch = shape.pitch ?? shape.inner
  for (const name of Object.keys(signature)) {
    const array = given[name] as Statistic | undefined
    if (!array) continue
    const { strided, role } = kinds[signature[name]]
    if (role === 'statistic') {
      for (let i = first; i < first + count; i++) {
        clear(array, i * shape.inner + column, columns)
      }
    } else if (role === 'result' && strided) {
      const stride = strideOf(given, name, shape)
      for (let i = first; i < first + count; i++) {
        if (columns === pitch) {
          clear(array, i * stride, shape.size * pitch)
          continue
        }
        for (let row = 0; row < shape.size; row++) {
          clear(array, i * stride + row * pitch + column, columns)
        }
      }
    }
  }
}

/** 0 in the groups of a dense result that are padded. */
export function clearPadded(y: Float32Array, shape: Groups): void {
  overReal('residual_sum', () => {})({ sum: y, x: y, residual: y, shape, residualScale: 1 })
}

/** The same kernel where it takes sums over rows: the partial sums are brought together in the end (rule 22). */
export function withSums<Name extends Op>(op: Name, kernel: Kernel<Name>): Kernel<Name> {
  const signature: { readonly [operand: string]: Kind } = signatures[op]
  const names = Object.keys(signature).filter(name => signature[name] === 'sumOverRows')
  return call => {
    kernel(call)
    const { shape, ...operands } = call as unknown as Operands & { readonly shape: Groups | Volume }
    for (const name of names) {
      const sums = operands[name] as SumOverRows
      if (sums) addPartialSums(sums, shape)
    }
  }
}

/** Adds up rows of partial sums: those of 64 make one, at each level, then all, in order. The first becomes the sum. */
function addPartialSums(sums: Float64Array, shape: Groups | Volume): void {
  const unit = unitOf(shape)
  const isVolume = 'samples' in shape
  const n = isVolume ? shape.groups * shape.channelsPerGroup : shape.size
  const count = isVolume ? shape.samples : countReal(shape.spans, shape.outer, 0)
  const add = (to: number, from: number) => {
    for (let k = 0; k < n; k++) sums[to * n + k] += sums[from * n + k]
  }
  let rows = Math.ceil(count / unit)
  for (let fold = unit === 1 ? 2 : 1; fold > 0; fold--) {
    let folded = 0
    for (let first = 0; first < rows; first += FOLD64, folded++) {
      if (folded !== first) sums.copyWithin(folded * n, first * n, (first + 1) * n)
      for (let i = first + 1; i < Math.min(rows, first + FOLD64); i++) add(folded, i)
    }
    rows = folded
  }
  for (let i = 1; i < rows; i++) add(0, i)
}
