// Arrays to be normalised in files: float32, float16 or bfloat16, which stay what they are.
import type { Dtype } from '../call/elements.js'
import { type ElementType, types16 } from '../kernels/elements.js'
import { bytesOf, elementTypeOf, wantedElements } from './dtypes.js'
import { checkSize } from './files.js'
import { type NpyHeader, readElements, readNpyHeader } from './npy.js'
import { type Given, readChoice } from './options.js'
import type { Elements, Source } from './source.js'
import { warn } from './usage.js'

/** Elements of a file: those of 16 bits as bits. */
export type FileArray = Float32Array | Uint16Array

/** They with their shape and type, as operations take them. */
export interface FileTensor<Data extends FileArray = FileArray> {
  readonly data: Data
  readonly dims: readonly number[]
  readonly type: ElementType
}

/** A file of elements. */
export interface ElementsHeader extends NpyHeader {
  readonly type: ElementType
}

export const newArray = (type: ElementType, length: number): FileArray =>
  type === 'float32' ? new Float32Array(length) : new Uint16Array(length)

/** What --dtype says. */
export const readDtype = ({ dtype }: Given): Dtype | undefined =>
  dtype === undefined ? undefined : readChoice('dtype', dtype as string, types16)

/** Reads the header of a file of elements; the handle then stands at the data. */
export async function readElementsHeader(
  file: Source,
  name: string,
  dtype: Dtype | undefined
): Promise<ElementsHeader> {
  const header = await readNpyHeader(file, name, wantedElements(dtype))
  return { ...header, type: elementTypeOf(header.dtype, dtype) }
}

/**
 * Says where --dtype, which tells what the bits of '<u2' are, cannot mean an input: an error where that has another type of 16
 * bits, a warning where it is float32. `advice` tells what names the type of results.
 */
export function checkDtype(
  name: string,
  { dtype: descr, type }: ElementsHeader,
  dtype: Dtype | undefined,
  advice = ''
) {
  if (dtype === undefined || dtype === type) return
  if (type !== 'float32') throw new Error(`${name}: dtype expected ${dtype} (--dtype), got '${descr}' (${type})`)
  warn(`${name}: --dtype ${dtype} says what '<u2' is, and this file is float32${advice}`)
}

/** Throws where the file has not the size that its header says. */
export const checkElements = (name: string, { dtype, size, start }: NpyHeader): Promise<void> =>
  checkSize(name, size * bytesOf(dtype), start)

/** Elements of a block: large enough to keep the kernels busy, small against any memory. */
const BLOCK_ELEMENTS = 2 ** 20

/** So many units of a file, from `first` on; `data` is valid until the next block is read. */
export interface Part {
  readonly first: number
  readonly count: number
  readonly data: FileArray
}

/** Reads so many units of so many elements each in blocks of whole units; of none one empty block. */
export async function* readBlocks(
  source: Elements,
  name: string,
  type: ElementType,
  units: number,
  elements: number,
  /** What a unit counts, where its result is larger than itself. */
  weight = elements
): AsyncGenerator<Part> {
  const unitsAtOnce = Math.min(units, Math.max(1, Math.floor(BLOCK_ELEMENTS / weight)))
  const memory = newArray(type, unitsAtOnce * elements)
  for (let first = 0; first === 0 || first < units; first += unitsAtOnce) {
    const count = Math.min(unitsAtOnce, units - first)
    const data = memory.subarray(0, count * elements)
    await readElements(source, name, data)
    yield { first, count, data }
    if (units === 0) return
  }
}
