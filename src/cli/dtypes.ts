// Element types of .npy files: those that are read, what the others are, and what to do about them.
import type { Dtype as Bits } from '../call/elements.js'
import type { ElementType } from '../kernels/elements.js'

type Get = (view: DataView, at: number) => number

const bits16: Get = (view, at) => view.getUint16(at, true)

/**
 * Types that are read, as numpy names them, and how. Of float16 and of bfloat16, which numpy holds as raw bytes, it is the bits
 * that are read.
 */
const readers = {
  '<f4': [4, (view, at) => view.getFloat32(at, true)],
  '<f2': [2, bits16],
  '<V2': [2, bits16],
  '|V2': [2, bits16],
  '<f8': [8, (view, at) => view.getFloat64(at, true)],
  '|b1': [1, (view, at) => view.getUint8(at)],
  '|u1': [1, (view, at) => view.getUint8(at)],
  '|i1': [1, (view, at) => view.getInt8(at)],
  '<u2': [2, bits16],
  '<i2': [2, (view, at) => view.getInt16(at, true)],
  '<u4': [4, (view, at) => view.getUint32(at, true)],
  '<i4': [4, (view, at) => view.getInt32(at, true)],
  '<u8': [8, (view, at) => Number(view.getBigUint64(at, true))],
  '<i8': [8, (view, at) => Number(view.getBigInt64(at, true))]
} as const satisfies { readonly [dtype: string]: readonly [bytes: number, get: Get] }

export type Dtype = keyof typeof readers

/** Bytes of an element. */
export const bytesOf = (dtype: Dtype): number => readers[dtype][0]

/** Reads an element at a place of a view. */
export const getOf = (dtype: Dtype): Get => readers[dtype][1]

/** What a file may hold: these types, how a message names them, and what numpy makes of another array. */
export interface Wanted {
  readonly dtypes: readonly Dtype[]
  readonly text: string
  readonly cast: string
}

const integers: readonly Dtype[] = ['|u1', '|i1', '<u2', '<i2', '<u4', '<i4', '<u8', '<i8']

/** Data to normalise, and weights; `dtype` is what --dtype says of '<u2'. */
export const wantedElements = (dtype: Bits | undefined): Wanted => ({
  dtypes: ['<f4', '<f2', '<V2', '|V2', ...(dtype ? (['<u2'] as const) : [])],
  text: "little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2')",
  cast: "'<f4'"
})

/** The type of a file's elements. */
export function elementTypeOf(descr: Dtype, dtype: Bits | undefined): ElementType {
  if (descr === '<f4') return 'float32'
  if (descr === '<u2') return dtype as Bits
  return descr === '<f2' ? 'float16' : 'bfloat16'
}

/** How results of these types are written. */
export const descriptions: { readonly [type in ElementType]: Dtype } = {
  float32: '<f4',
  float16: '<f2',
  bfloat16: '<V2'
}

export const wanted = {
  statistics: { dtypes: ['<f4', '<f8'], text: "float32 or float64 ('<f4', '<f8')", cast: "'<f8'" },
  counts: { dtypes: integers, text: 'integers', cast: "'<i8'" },
  flags: { dtypes: ['|b1', ...integers, '<f4'], text: "bool, integers or float32 ('<f4')", cast: "'bool'" }
} as const satisfies { readonly [name: string]: Wanted }

const kinds: { readonly [kind: string]: string } = {
  f: 'float',
  i: 'int',
  u: 'uint',
  c: 'complex',
  b: 'bool',
  O: 'Python objects',
  U: 'text',
  S: 'text',
  a: 'text',
  V: 'raw bytes',
  M: 'dates',
  m: 'durations'
}

/** What an unread type is, and what to do; `descr` as it stands in the header. */
export function adviceOn(descr: string, { dtypes, cast: otherwise }: Wanted): string {
  const swapped = descr.replace(/^'>(?=[fiu])/, "'<")
  const cast = dtypes.some(one => swapped === `'${one}'`) ? swapped : otherwise
  if (descr.startsWith('[')) {
    const field = /^\[\s*\(\s*['"]([^'"]*)['"]/.exec(descr)?.[1]
    return ` (structured); save one field, a[${field ? `'${field}'` : 'name'}].astype(${cast})`
  }
  const [, order, kind, size] = /^['"]([<>|=]?)([a-zA-Z])(\d*)/.exec(descr) ?? []
  const name = kinds[kind]
  if (name === undefined) return ''
  const bits = 'fiuc'.includes(kind) ? 8 * Number(size) : ''
  const what = `${name}${bits}${order === '>' && Number(size) > 1 ? ', big-endian' : ''}`
  if (kind === 'O') return ` (${what}); save an array of numbers`
  // numpy has no bfloat16: ml_dtypes writes it so.
  if (kind === 'V' && size === '2') return ` (${what}, perhaps bfloat16); save a.astype(${cast})`
  if (descr === "'<u2'" && dtypes.includes('<f2')) {
    return ` (${what}); save a.astype(${cast}), or pass --dtype float16 (or bfloat16) if these are the bits of such numbers`
  }
  if ('Mm'.includes(kind) || name === 'text') return ` (${what}); save numbers, a.astype(${cast})`
  return ` (${what}); save a.astype(${cast})`
}

const formats: readonly (readonly [start: string, what: string])[] = [
  ['PK\x03\x04', "an archive (.npz): save one of its arrays, np.save('x.npy', np.load('x.npz')['name'])"],
  ['PK\x05\x06', 'an empty archive (.npz)'],
  ['\x1f\x8b', 'gzip: decompress it first'],
  ['\x89HDF', 'HDF5: np.save one of its data sets'],
  ['PAR1', 'Parquet: np.save its numbers'],
  ['ARROW1', 'Arrow: np.save its numbers'],
  ['\x80', 'a Python pickle: np.save its array']
]

/** What a file of another format is, by its first bytes. */
export function formatOf(start: Buffer): string {
  if (start.length === 0) return 'an empty file'
  const text = start.toString('latin1')
  return formats.find(([magic]) => text.startsWith(magic))?.[1] ?? 'something else'
}
