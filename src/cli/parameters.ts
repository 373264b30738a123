// Arrays in files beside the input: weights, and which positions are real.

import type { Dtype } from '../call/elements.js'
import { type Wanted, wanted } from './dtypes.js'
import { checkElements, type FileArray, type FileTensor, newArray, readDtype, readElementsHeader } from './elements.js'
import { withInput } from './files.js'
import { eachNumber, readElements, readNpyHeader, shapeText } from './npy.js'
import { type Given, readList } from './options.js'

/** An array of a file. */
export interface Numbers<Values> {
  readonly data: Values
  readonly dims: readonly number[]
}

/** The files beside the input, read. */
export interface Files {
  readonly weight?: FileTensor
  readonly bias?: FileTensor
  readonly 'running-mean'?: Numbers<Float64Array>
  readonly 'running-var'?: Numbers<Float64Array>
  readonly lengths?: Numbers<Float64Array>
  readonly skip?: Numbers<Float64Array>
  /** A byte for each flag: the file may be as long as the input has positions. */
  readonly mask?: Numbers<Uint8Array>
}

/** The array of a file of one of these types. */
async function readArray<Values extends Float64Array | Uint8Array>(
  path: string,
  types: Wanted,
  make: (size: number) => Values,
  check: (value: number) => void = () => {}
): Promise<Numbers<Values>> {
  return withInput(path, async (file, path) => {
    const header = await readNpyHeader(file, path, types)
    await checkElements(path, header)
    const data = make(header.size)
    await eachNumber(path, header, (value, i) => {
      check(value)
      data[i] = value
    })
    return { data, dims: header.dims }
  })
}

/** Weights of a file; those of 16 bits as they are. */
async function readWeights(path: string, dtype: Dtype | undefined): Promise<FileTensor> {
  return withInput(path, async (file, path) => {
    const header = await readElementsHeader(file, path, dtype)
    await checkElements(path, header)
    const data: FileArray = newArray(header.type, header.size)
    await readElements(header.data, path, data)
    return { data, dims: header.dims, type: header.type }
  })
}

const float64 = (size: number) => new Float64Array(size)

/** Numbers of each sample: a list, or a file of integers. */
async function readCounts(option: string, text: string): Promise<Numbers<Float64Array>> {
  if (!/^[\d\s,]+$/.test(text)) return readArray(text, wanted.counts, float64)
  const data = Float64Array.from(readList(option, text, 0))
  return { data, dims: [data.length] }
}

function checkFlag(flag: number): void {
  if (flag !== 0 && flag !== 1) throw new Error(`--mask expected 0 and 1, got ${flag}`)
}

/** How the file, or in its place the list, of each option is read. */
const fileReaders: {
  readonly [name in keyof Files]-?: (text: string, dtype: Dtype | undefined) => Promise<NonNullable<Files[name]>>
} = {
  weight: readWeights,
  bias: readWeights,
  'running-mean': text => readArray(text, wanted.statistics, float64),
  'running-var': text => readArray(text, wanted.statistics, float64),
  lengths: text => readCounts('lengths', text),
  skip: text => readCounts('skip', text),
  mask: text => readArray(text, wanted.flags, size => new Uint8Array(size), checkFlag)
}

/** Reads the files that these options name. */
export async function readFiles(given: Given): Promise<Files> {
  const dtype = readDtype(given)
  const files: { [name: string]: Numbers<unknown> } = {}
  for (const [name, read] of Object.entries(fileReaders)) {
    const text = given[name] as string | undefined
    if (text !== undefined) files[name] = await read(text, dtype)
  }
  return files as Files
}

/** Weights have exactly the shape of what they belong to: another with as many elements is a mistake. */
export function checkShapes(files: Files, names: readonly (keyof Files)[], expected: readonly number[]): void {
  for (const name of names) {
    const dims = files[name]?.dims
    if (dims && shapeText(dims) !== shapeText(expected)) {
      throw new Error(`--${name}: shape expected ${shapeText(expected)}, got ${shapeText(dims)}`)
    }
  }
}

/** Lengths or mask must fit N samples of L positions. */
export function checkPadding(files: Files, samples: number, positions: number): void {
  checkShapes(files, ['lengths'], [samples])
  checkShapes(files, ['mask'], [samples, positions])
  checkCounts('lengths', files.lengths, positions)
}

/** Numbers of positions. */
export function checkCounts(name: string, counts: Numbers<Float64Array> | undefined, most: number): void {
  const bad = counts?.data.find(count => !Number.isSafeInteger(count) || count < 0 || count > most)
  if (bad === undefined) return
  const bound = most < Number.MAX_SAFE_INTEGER ? `from 0 to ${most}` : '>= 0'
  throw new Error(`--${name} expected integers ${bound}, got ${bad}`)
}

/** Whether there are options of positions, which only files of three dimensions have. */
export function checkPadded(name: string, dims: readonly number[], { lengths, mask, skip }: Files): boolean {
  if (!lengths && !mask && !skip) return false
  const option = lengths ? '--lengths' : mask ? '--mask' : '--skip'
  if (dims.length !== 3) throw new Error(`${name}: shape expected 3 dimensions (${option}), got ${shapeText(dims)}`)
  return true
}

/** What belongs to so many samples from this one on. */
export function paddingOf({ lengths, mask }: Files, first: number, count: number) {
  const positions = mask?.dims[1] ?? 0
  return {
    lengths: lengths?.data.subarray(first, first + count),
    mask: mask?.data.subarray(first * positions, (first + count) * positions)
  }
}
