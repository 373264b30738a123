// Calls whose elements in memory are no dense float32: those of 16 bits (rule 24), and views. All are brought into float32, the
// kernel works on that, and its results are brought back. The twin of native/threads/stage.h, which takes some groups at a time.
import { asFloat32, elementTypeOf, lengthOf, type Rows, type Storage, storageOf } from './arrays.js'
import { narrow, widen } from './convert.js'
import type { ElementType } from './elements.js'
import { addResidual } from './maps.js'
import { type Groups, type Kind, kinds, type Volume } from './operands.js'
import { clearPadded } from './padding.js'
import { type Call, type Kernel, type Op, signatures } from './signatures.js'

interface Operands {
  readonly [operand: string]: unknown
}

/** The same kernel where elements may be of 16 bits, or rows those of a view. */
export function staged<Name extends Op>(op: Name, kernel: Kernel<Name>): Kernel<Name> {
  const signature: { readonly [operand: string]: Kind } = signatures[op]
  const names = Object.keys(signature).filter(name => /^(maybe)?(in|out)$|^tensor|^per(El|Ch)/i.test(signature[name]))
  return call => {
    const given = call as unknown as Operands
    const isStored = (name: string) => given[name] !== undefined && storageOf(given[name] as Float32Array) !== undefined
    if (names.some(isStored)) runStaged(signature, names, given, kernel)
    else kernel(call)
  }
}

function runStaged<Name extends Op>(
  signature: { readonly [operand: string]: Kind },
  names: readonly string[],
  given: Operands,
  kernel: Kernel<Name>
): void {
  const shape = given.shape as Groups | Volume
  const strides = given.strides as { readonly [operand: string]: number | undefined } | undefined
  const placed: { [operand: string]: unknown } = { ...given, strides: undefined }
  for (const name of names) {
    const array = given[name] as Float32Array | undefined
    if (!array) continue
    const { role } = kinds[signature[name]]
    if (role === 'parameter') {
      placed[name] = asFloat32(array)
      continue
    }
    const own = new Float32Array(sizeOf(shape))
    placed[name] = own
    if (role !== 'input') continue
    const type = elementTypeOf(array)
    eachRun(storageOf(array), strides?.[name], shape, (offset, place, n) => read(own, place, array, offset, n, type))
  }
  if (given.residual && 'sum' in signature && 'y' in signature) addRounded(given, placed, shape as Groups)
  kernel(placed as unknown as Call<Name>)
  for (const name of names) {
    const array = given[name] as Float32Array | undefined
    if (!array || kinds[signature[name]].role !== 'result') continue
    const own = placed[name] as Float32Array
    const type = elementTypeOf(array)
    eachRun(storageOf(array), strides?.[name], shape, (offset, place, n) => write(array, offset, own, place, n, type))
  }
}

/** Elements of an operand as float32, and back. */
function read(to: Float32Array, at: number, from: Float32Array, first: number, n: number, type: ElementType): void {
  if (type === 'float32') copy(to, at, from, first, n)
  else widen(to, at, from, first, n, type)
}

function write(to: Float32Array, at: number, from: Float32Array, first: number, n: number, type: ElementType): void {
  if (type === 'float32') copy(to, at, from, first, n)
  else narrow(to, at, from, first, n, type)
}

function copy(to: Float32Array, at: number, from: Float32Array, first: number, n: number): void {
  for (let i = 0; i < n; i++) to[at + i] = from[first + i]
}

/** The sum of x and the residual, rounded to the type of x before it is normalised (rule 24): in the place of both. */
function addRounded(given: Operands, placed: { [operand: string]: unknown }, shape: Groups): void {
  const type = elementTypeOf(given.x as Float32Array)
  if (type === 'float32') return
  const x = placed.x as Float32Array
  const length = lengthOf(x)
  const matrix = shape.size * shape.inner
  const scale = Math.fround(given.residualScale as number)
  for (let at = 0; at < length; at += matrix) {
    addResidual(x, at, x, at, placed.residual as Float32Array, at, shape, scale)
  }
  const bits = new Uint16Array(length)
  narrow(bits, 0, x, 0, length, type)
  widen(x, 0, bits, 0, length, type)
  const sum = placed.sum as Float32Array | undefined
  if (sum) {
    sum.set(x)
    clearPadded(sum, shape)
  }
  placed.residual = undefined
}

/** Elements of a shape. */
function sizeOf(shape: Groups | Volume): number {
  if ('samples' in shape) return shape.samples * shape.groups * shape.channelsPerGroup * shape.positions
  return shape.outer * shape.size * shape.inner
}

/** Calls step(offset, place, n) for the runs of neighbours that an operand has, as they stand in memory and one behind the other. */
function eachRun(
  storage: Storage | undefined,
  stride: number | undefined,
  shape: Groups | Volume,
  step: (offset: number, place: number, n: number) => void
): void {
  const size = sizeOf(shape)
  if ('samples' in shape) {
    step(0, 0, size)
    return
  }
  const n = shape.size * shape.inner
  if (!storage?.rows) {
    if (stride === undefined || stride === n) step(0, 0, size)
    else for (let i = 0; i < shape.outer; i++) step(i * stride, i * n, n)
    return
  }
  eachRow(storage.rows, (offset, row) => step(offset, row * n, n))
}

/** Calls step(offset, row) for the rows of a view, in their order. */
export function eachRow({ dims, strides }: Rows, step: (offset: number, row: number) => void): void {
  const index = dims.map(() => 0)
  const count = dims.reduce((count, dim) => count * dim, 1)
  for (let row = 0, offset = 0; row < count; row++) {
    step(offset, row)
    for (let d = dims.length - 1; d >= 0; d--) {
      offset += strides[d]
      if (++index[d] < dims[d]) break
      offset -= dims[d] * strides[d]
      index[d] = 0
    }
  }
}
