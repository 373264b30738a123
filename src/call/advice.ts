// What to do about mistakes that newcomers make: the one list of hints. All but checkThis runs only when an error is made.
import { typedArrayKind } from '../kernels/arrays.js'
import { describe } from './errors.js'

/** A hint as it stands at the end of a message. What asks may run getters of the caller's: no hint where they throw. */
function hint(find: () => string | undefined): string {
  try {
    const found = find()
    return found === undefined ? '' : `; ${found}`
  } catch {
    return ''
  }
}

/** How a message names a value that is no array or tensor as expected, and what makes one of it. */
export function gotArray(what: string, value: unknown): string {
  return describe(value) + hint(() => ofArray(what, value) ?? ofObject(what, value))
}

/** The same for the type of a tensor. */
export function gotType(what: string, type: string, data: unknown): string {
  return type + hint(() => `{ data: ${converted(`${what}.data`, typedArrayKind(data))}, dims: ${what}.dims }`)
}

/** The numbers of 16 bits, whose pattern an array has, as float32. */
const fromBits = (what: string) => `dequantizeEmbeddings(${what}, length, { precision: 'float16' }) (or 'bfloat16')`

/** The numbers of a tensor's data as float32. */
function converted(what: string, kind: string | undefined): string {
  return kind === 'Uint16Array' ? fromBits(what) : numbersOf(what, kind)
}

function numbersOf(what: string, kind: string | undefined): string {
  return `Float32Array.from(${what}${kind?.startsWith('Big') ? ', Number' : ''})`
}

function ofArray(what: string, value: unknown): string | undefined {
  if (Array.isArray(value)) {
    return Array.isArray(value[0]) ? `Float32Array.from(${what}.flat(Infinity))` : `Float32Array.from(${what})`
  }
  const kind = typedArrayKind(value)
  if (kind === 'Uint8Array') {
    const { byteOffset, byteLength } = value as Uint8Array
    const view =
      byteOffset % 4 === 0
        ? `new Float32Array(${what}.buffer, ${what}.byteOffset, ${what}.byteLength / 4)`
        : `new Float32Array(Uint8Array.from(${what}).buffer)`
    const bytes = byteLength % 4 === 0 ? `${view} if these are the bytes of float32` : undefined
    // A subclass is Node.js's: bytes of a file or a socket.
    if ((value as Uint8Array).constructor.name !== 'Uint8Array') return bytes
    return `Float32Array.from(${what})${bytes ? `, or ${bytes}` : ''}`
  }
  if (kind === 'Uint16Array')
    return `${numbersOf(what, kind)}, or ${fromBits(what)} if these are the bits of such numbers`
  if (kind !== undefined) return kind === 'Float32Array' ? undefined : numbersOf(what, kind)
  const isBuffer = /ArrayBuffer\]$/.test(Object.prototype.toString.call(value))
  return isBuffer ? `new Float32Array(${what})` : undefined
}

const has = (value: object, ...names: string[]) => names.every(name => name in value)

function ofObject(what: string, value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { data, then } = value as { data?: unknown; then?: unknown }
  if (typeof then === 'function') return `await ${what}`
  if (has(value, 'data', 'dims')) return `pass ${what}.data`
  const elements = typeof data === 'function' ? `await ${what}.data()` : `${what}.data`
  if (has(value, 'data', 'shape')) return `it has shape, expected dims: { data: ${elements}, dims: ${what}.shape }`
  if (has(value, 'data')) return `it has no dims: { data: ${elements}, dims: [rows, columns] }`
  // What run() of onnxruntime returns, or a model of transformers.js.
  const tensors = Object.keys(value)
    .slice(0, 20)
    .filter(key => {
      const item = (value as { [key: string]: unknown })[key]
      return typeof item === 'object' && item !== null && has(item, 'data', 'dims')
    })
  if (tensors.length === 0) return undefined
  const names = tensors.slice(0, 4).map(key => (/^[\w$]+$/.test(key) ? key : describe(key)).slice(0, 40))
  const [first] = names
  const one = first.startsWith('"') ? `${what}[${first}]` : `${what}.${first}`
  return `its tensors are ${names.join(', ')}${tensors.length > 4 ? ', …' : ''}: pass one of them, ${one}`
}

/** How a message names what is no tensor, where one is needed for its dims. */
export function gotTensor(what: string, value: unknown, dims: string): string {
  return typedArrayKind(value) === 'Float32Array' ? bareArray(what, dims) : gotArray(what, value)
}

/** How a message names a Float32Array in its place. */
export const bareArray = (what: string, dims: string) =>
  `Float32Array; give it its shape, { data: ${what}, dims: ${dims} }`

/** Names that other libraries have for options. */
const aliases: { readonly [name: string]: string } = {
  gamma: 'weight',
  beta: 'bias',
  scale: 'weight',
  shift: 'bias',
  epsilon: 'eps',
  attention_mask: 'mask',
  attentionMask: 'mask',
  key_padding_mask: 'mask',
  dataFormat: 'layout',
  data_format: 'layout'
}

/** What stands behind the names of options and the one that is not among them: [after the names, after the one]. */
export function unknownOption(op: string, key: string, names: readonly string[]): [nearest: string, advice: string] {
  const own = (name: string) => Object.hasOwn(aliases, name) && names.includes(aliases[name])
  if (own(key)) return ['', `; here it is called ${aliases[key]}`]
  if (/^in_?place$/i.test(key) && names.includes('out')) return ['', '; to write over x pass out: x']
  if (/^(dim|dims|axis|axes)$/.test(key) && /^(layerNorm|rmsNorm|normalize)/.test(op)) {
    return ['', '; it stands in the place of normalizedShape, as { axis: -1 }']
  }
  const near = key.length > 40 ? undefined : nearest(key, names)
  return [near === undefined ? '' : ` (nearest: ${near})`, '']
}

/** The nearest of the names, where a third of the letters or less are wrong. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map(name => ({ name, distance: editDistance(word, name) }))
  const best = ranked.sort((a, b) => a.distance - b.distance).at(0)
  return best && best.distance < word.length && best.distance <= Math.max(1, Math.floor(word.length / 3))
    ? best.name
    : undefined
}

/** Levenshtein's distance, letters compared without case. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1].toLowerCase() === b[j - 1].toLowerCase() ? 0 : 1
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + change)
    }
    row = next
  }
  return row[b.length]
}

/** How a message names what is no object of options: arguments in PyTorch's order, most often. */
export function gotOptions(value: unknown, names: readonly string[]): string {
  if (typeof value === 'function' || value === null || typeof value === 'symbol') return describe(value)
  const listed = names.slice(0, 3).join(', ')
  return `${describe(value)}; options go by name: { ${listed}${names.length > 3 ? ', …' : ''} }`
}

/** How a message names what is no normalizedShape. `axes` where `{ axis }` can stand in its place. */
export function gotShape(value: unknown, axes: boolean): string {
  return describe(value) + hint(() => ofShape(value, axes))
}

function ofShape(value: unknown, axes: boolean): string | undefined {
  if (value === undefined) return 'it is the number of elements of a row, as 768'
  if (Number.isInteger(value) && (value as number) < 0) return axes ? `for an axis { axis: ${value} }` : undefined
  if (typeof value !== 'object' || value === null || Array.isArray(value) || typedArrayKind(value)) return undefined
  const name = ['dim', 'dims', 'axes'].find(name => has(value, name))
  if (axes && name) return `${name} is called axis: { axis: ${describe((value as { [name: string]: unknown })[name])} }`
  return 'the options come after it'
}

/** How a message names a flag of a mask that is none. */
export function gotFlag(value: unknown): string {
  const isAdded = typeof value === 'number' && value < -1000
  const advice = '; of a mask that is added to scores (0 is real) pass Array.from(mask, value => value === 0)'
  return describe(value) + (isAdded ? advice : '')
}

/** What a method throws that was taken off its object, as by `const { forward } = layer`. */
export function checkThis(self: unknown, name: string, method: string): void {
  if (self === undefined) throw detached(name, method)
}

const detached = (name: string, method: string) =>
  new TypeError(
    `${name}: this expected the object of ${method}, got undefined; pass x => layer.${method}(x) in its place`
  )
