// The formats of shards, as the ends of their names tell them.
import { basename, extname } from 'node:path'
import type { Given } from '../cli/options.js'

export const formats = ['npy', 'parquet', 'arrow'] as const
export type Format = (typeof formats)[number]
/** Formats of tables, of which a column has the numbers. */
export type TableFormat = Exclude<Format, 'npy'>

/** The format of a shard; undefined where the name has another end. */
export const formatOfName = (path: string): Format | undefined => formats.find(format => extname(path) === `.${format}`)

/** A shard's base name without its end. */
export const stemOfName = (path: string): string => basename(path, extname(path))

/** The base name of a shard's result. */
export function resultName(input: string, { format }: Given): string {
  return format === undefined ? basename(input) : `${stemOfName(input)}.${format}`
}

/** Options of the operation alone, without those of formats. */
export function withoutFormats({ column, format, ...given }: Given): Given {
  return given
}
