// The hidden states of a pre-trained encoder that lie beside the repository (../shared/data): tests that read them report
// themselves skipped where they are absent.
import { existsSync, readFileSync } from 'node:fs'

const folder = new URL('../../../shared/data/', import.meta.url)

export const hasRealData = existsSync(new URL('use_hidden_24x26x512.npy', folder))

/** The elements of a .npy file of float32 or int32, version 1. */
export function readNpy(name: string): Float32Array | Int32Array {
  const bytes = readFileSync(new URL(`${name}.npy`, folder))
  const begin = 10 + bytes.readUInt16LE(8)
  const data = Uint8Array.from(bytes.subarray(begin)).buffer
  const descr = /'descr': '(<..)'/.exec(bytes.toString('latin1', 10, begin))?.[1]
  if (descr === '<f4') return new Float32Array(data)
  if (descr === '<i4') return new Int32Array(data)
  throw new Error(`${name}: ${descr}`)
}

/** The largest difference, in units in the last place of the largest element of its row. */
export function ulpsApart(actual: ArrayLike<number>, expected: ArrayLike<number>, columns: number): number {
  let worst = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY
  for (let begin = 0; begin < expected.length; begin += columns) {
    let largest = 0
    for (let i = begin; i < begin + columns; i++) largest = Math.max(largest, Math.abs(expected[i]))
    const ulp = 2 ** (Math.floor(Math.log2(largest)) - 23)
    for (let i = begin; i < begin + columns; i++) worst = Math.max(worst, Math.abs(actual[i] - expected[i]) / ulp)
  }
  return worst
}

/** How many of the first 22 rows have their paraphrase as the nearest by the cosine; a tie counts as lost. */
export function neighboursKept(x: ArrayLike<number>, columns: number): number {
  const rows = x.length / columns
  const cosine = (a: number, b: number) => {
    let [dot, left, right] = [0, 0, 0]
    for (let c = 0; c < columns; c++) {
      const [u, v] = [x[a * columns + c], x[b * columns + c]]
      dot += u * v
      left += u * u
      right += v * v
    }
    return dot / Math.sqrt(left * right)
  }
  let kept = 0
  for (let row = 0; row < 22; row++) {
    const partner = cosine(row, row ^ 1)
    let nearest = true
    for (let other = 0; other < rows; other++) {
      if (other !== row && other !== (row ^ 1) && !(cosine(row, other) < partner)) nearest = false
    }
    if (nearest) kept++
  }
  return kept
}
