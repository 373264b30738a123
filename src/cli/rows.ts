// --rows: a part of a file, from a row of its first dimension to another.
import { bytesOf } from './dtypes.js'
import type { NpyHeader } from './npy.js'
import { type Elements, without } from './source.js'
import { UsageError } from './usage.js'

/** The option, of commands for single files. */
export const rowsOption = { rows: { type: 'string' } } as const

/** Of so many rows the first one, and how many there are from it on. */
export type RowRange = (rows: number) => { readonly first: number; readonly count: number }

/** Reads a:b as Python does: either may be left out, negative ones count from the end. */
export function readRange(text: string | undefined): RowRange | undefined {
  if (text === undefined) return undefined
  const [, a, b] = /^(-?\d*):(-?\d*)$/.exec(text) ?? []
  const bad = a === undefined || a === '-' || b === '-'
  if (bad) throw new UsageError(`--rows expected a:b, e.g. 100:200, :100 or -10:, got ${JSON.stringify(text)}`)
  return rows => {
    const place = (text: string, absent: number) => {
      const index = text === '' ? absent : Number(text)
      return Math.min(rows, Math.max(0, index < 0 ? index + rows : index))
    }
    const first = place(a, 0)
    return { first, count: Math.max(0, place(b, rows) - first) }
  }
}

/** The array of a file, or a part of it. */
export interface Region {
  readonly dims: readonly number[]
  /** Number of elements. */
  readonly size: number
  /** The row that it begins with. */
  readonly first: number
  readonly data: Elements
}

/** The part that a range names; all of it without one. */
export function regionOf({ dtype, dims, size, data }: NpyHeader, name: string, range: RowRange | undefined): Region {
  if (!range) return { dims, size, first: 0, data }
  const [rows] = dims
  if (rows === undefined) throw new Error(`${name}: shape expected at least 1 dimension (--rows), got ()`)
  const { first, count } = range(rows)
  const perRow = rows === 0 ? 0 : size / rows
  const before = bytesOf(dtype) * first * perRow
  return { dims: [count, ...dims.slice(1)], size: count * perRow, first, data: without(before, data) }
}
