// What the examples share: .npy files in and out, comparisons, and a table on the terminal.
import { mkdir, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Wanted } from '../dist/esm/cli/dtypes.js'
import { eachNumber, npyHeader, readNpyHeader, writeElements, writeFully } from '../dist/esm/cli/npy.js'

export interface Tensor {
  readonly data: Float32Array
  readonly dims: readonly number[]
}

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url))

const numbers: Wanted = { dtypes: ['<f4', '<i4'], text: 'float32 or int32', cast: "'<f4'" }

/** A .npy file of this repository (examples/README.md says what they are), as float32. */
export async function readTensor(name: string): Promise<Tensor> {
  const file = await open(path(name))
  try {
    const header = await readNpyHeader(file, name, numbers)
    const data = new Float32Array(header.size)
    await eachNumber(name, header, (value, i) => {
      data[i] = value
    })
    return { data, dims: header.dims }
  } finally {
    await file.close()
  }
}

/** A .json file of this repository. */
export const readJson = async (name: string) => JSON.parse(await readFile(path(name), 'utf8'))

/** Hidden states of a GRU: 8 sequences, 64 positions, 256 features (see README.md). */
export const file = 'examples/gru_hidden_8x64x256.npy'
export const [sequences, positions, features] = [8, 64, 256]

export const readHiddenStates = async () => (await readTensor(file)).data

/** Writes a .npy file, which numpy reads. */
export async function writeTensor(name: string, { data, dims }: Tensor): Promise<void> {
  await mkdir(dirname(path(name)), { recursive: true })
  const file = await open(path(name), 'w')
  try {
    await writeFully(file, npyHeader(dims))
    await writeElements(file, data)
  } finally {
    await file.close()
  }
}

/** A claim, and below it a table; the first cell of a row to the left, the others to the right. */
export function table(title: string, heads: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [heads, ...rows]
  const widths = heads.map((_, i) => Math.max(...all.map(row => row[i].length)))
  console.log(`\n${title}`)
  for (const row of all) {
    console.log(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')}`)
  }
}

/** The largest difference between elements of two results. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0
  for (let i = 0; i < a.length; i++) difference = Math.max(difference, Math.abs(a[i] - b[i]))
  return difference
}

const largestOf = (array: Float32Array) => array.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0)

/** The largest difference between two results, relative to the largest element of the first. */
export const relativeDifference = (a: Float32Array, b: Float32Array) => largestDifference(a, b) / largestOf(a)

/** The largest difference between rows of two results, in ULP: units in the last place of the row's largest element. */
export function ulpsApart(a: Float32Array, b: Float32Array, size: number): number {
  let most = 0
  for (let start = 0; start < a.length; start += size) {
    const row = a.subarray(start, start + size)
    const ulp = 2 ** (Math.floor(Math.log2(largestOf(row))) - 23)
    most = Math.max(most, largestDifference(row, b.subarray(start, start + size)) / ulp)
  }
  return most
}

/** Whether two arrays have the same bits. */
export function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength)
  return Buffer.compare(bytes(a), bytes(b)) === 0
}
