// What the examples share: the hidden states, and a table on the terminal.
import { open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { readElements, readNpyHeader } from '../dist/esm/cli/npy.js'

/** Hidden states of a GRU: 8 sequences, 64 positions, 256 features (see README.md). */
export const file = 'examples/gru_hidden_8x64x256.npy'
export const [sequences, positions, features] = [8, 64, 256]

export async function readHiddenStates(): Promise<Float32Array> {
  const input = await open(fileURLToPath(new URL(`../${file}`, import.meta.url)))
  try {
    const { size } = await readNpyHeader(input, file)
    const x = new Float32Array(size)
    await readElements(input, file, x)
    return x
  } finally {
    await input.close()
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

/** The largest difference between two results, relative to the largest element of the first. */
export function relativeDifference(a: Float32Array, b: Float32Array): number {
  let difference = 0
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]))
    largest = Math.max(largest, Math.abs(a[i]))
  }
  return difference / largest
}
