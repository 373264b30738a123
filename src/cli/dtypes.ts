// Element types of .npy files: those that are read, what the others are, and what to do about them.

type Get = (view: DataView, at: number) => number

/** Types that are read, as numpy names them, and how. Data to normalise is '<f4'. */
const readers = {
  '<f4': [4, (view, at) => view.getFloat32(at, true)],
  '<f8': [8, (view, at) => view.getFloat64(at, true)],
  '|b1': [1, (view, at) => view.getUint8(at)],
  '|u1': [1, (view, at) => view.getUint8(at)],
  '|i1': [1, (view, at) => view.getInt8(at)],
  '<u2': [2, (view, at) => view.getUint16(at, true)],
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

export const wanted = {
  float32: { dtypes: ['<f4'], text: "little-endian float32 ('<f4')", cast: "'<f4'" },
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
export function adviceOn(descr: string, { cast }: Wanted): string {
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
  if (kind === 'V') return ` (${what}${size === '2' ? ', perhaps bfloat16' : ''}); save a.astype(${cast})`
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
