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
  return describe(value) + hint(() => ofNone(what, value) ?? ofArray(what, value) ?? ofObject(what, value))
}

/** What PyTorch says of a weight or bias by a flag, or by None. */
function ofNone(what: string, value: unknown): string | undefined {
  if (what !== 'weight' && what !== 'bias') return undefined
  if (value === null || value === false) return `leave ${what} out where there is none`
  return value === true ? `pass its numbers: new Float32Array(n)${what === 'weight' ? '.fill(1)' : ''}` : undefined
}

/** The same for the type of a tensor. */
export function gotType(what: string, type: string, data: unknown): string {
  return type + hint(() => `{ data: ${converted(`${what}.data`, typedArrayKind(data))}, dims: ${what}.dims }`)
}

/** How a message names bits of which nobody says what they are. */
export const gotBits = (what: string, inTensor: boolean): string =>
  inTensor
    ? `Uint16Array; { type: 'float16', data: ${what}.data, dims: ${what}.dims } (or 'bfloat16')`
    : `Uint16Array; pass { dtype: 'float16' } (or 'bfloat16') if these are the bits of such numbers, else ${numbersOf(what, 'Uint16Array')}`

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

/** Names that other libraries have for options; the command line's are the same with dashes. */
const aliases: { readonly [name: string]: string | readonly string[] } = {
  gamma: 'weight',
  beta: 'bias',
  scale: 'weight',
  shift: 'bias',
  epsilon: 'eps',
  attention_mask: 'mask',
  attentionMask: 'mask',
  key_padding_mask: 'mask',
  dim: 'axis',
  dims: 'axis',
  axes: 'axis',
  num_groups: 'groups',
  dtype: 'precision',
  out: 'out-dir',
  output: ['out', 'out-dir'],
  out_dir: 'output',
  dataFormat: 'layout',
  data_format: 'layout'
}

/** What stands behind the names of options and the one that is not among them: [after the names, after the one]. */
export function unknownOption(op: string, key: string, names: readonly string[]): [nearest: string, advice: string] {
  const own = aliasOf(key, names)
  if (own !== undefined) return ['', `; here it is called ${own}`]
  if (/^(elementwise_?)?affine$/i.test(key) && names.includes('weight')) {
    const [given, first] = names.includes('bias') ? ['weight and bias', 'ones and zeros'] : ['weight', 'ones']
    return ['', `; leave ${given} out for none, or pass ${first} to begin with`]
  }
  if (/^in_?place$/i.test(key) && names.includes('out')) return ['', '; to write over x pass out: x']
  if (/^(dim|dims|axis|axes)$/.test(key) && /^(layerNorm|rmsNorm|normalize)/.test(op)) {
    return ['', '; it stands in the place of normalizedShape, as { axis: -1 }']
  }
  const near = key.length > 40 ? undefined : nearest(key, names)
  return [near === undefined ? '' : ` (nearest: ${near})`, '']
}

/** What an option of another library is called among these names. */
export function aliasOf(name: string, names: readonly string[]): string | undefined {
  const key = name.replaceAll('-', '_')
  return Object.hasOwn(aliases, key) ? [aliases[key]].flat().find(alias => names.includes(alias)) : undefined
}

/** The nearest of the names, where a third of the letters or less are wrong; or the only one that begins so. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map(name => ({ name, distance: editDistance(word, name) }))
  const best = ranked.sort((a, b) => a.distance - b.distance).at(0)
  const isNear = best && best.distance < word.length && best.distance <= Math.max(1, Math.floor(word.length / 3))
  if (isNear) return best.name
  const longer = word.length < 3 ? [] : known.filter(name => name.startsWith(word))
  return longer.length === 1 ? longer[0] : undefined
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
  if (typeof value === 'function' || typeof value === 'symbol') return describe(value)
  const listed = names.slice(0, 3).join(', ')
  return `${describe(value)}; options go by name: { ${listed}${names.length > 3 ? ', …' : ''} }`
}

/**
 * How a message names what are no codes of a precision, whose array is `expected`; `others` are the precisions whose they may
 * be. Bytes of a file or a database come as Node.js's Buffer.
 */
export function gotCodes(what: string, value: unknown, expected: string, others: readonly string[]): string {
  return describe(value) + hint(() => ofCodes(what, value, expected, others))
}

function ofCodes(what: string, value: unknown, expected: string, others: readonly string[]): string | undefined {
  const size = expected === 'Float32Array' ? 4 : /^U?[Ii]nt8/.test(expected) ? 1 : undefined
  if (Array.isArray(value)) {
    return size && `${expected}.from(${what}${Array.isArray(value[0]) ? '.flat(Infinity)' : ''})`
  }
  if (size === 1 && typedArrayKind(value) === 'Uint8Array' && (value as Uint8Array).constructor.name !== 'Uint8Array') {
    return `new ${expected}(${what}.buffer, ${what}.byteOffset, ${what}.byteLength) if these are its bytes`
  }
  return ofPrecisions(others)
}

/** The same for the type of a tensor of codes. */
export const gotCodesType = (type: string, others: readonly string[]): string => type + hint(() => ofPrecisions(others))

function ofPrecisions(others: readonly string[]): string | undefined {
  const option = (name: string) => `{ precision: '${name}'${/^u?int8$/.test(name) ? ', scale' : ''} }`
  return others.length === 0 ? undefined : `pass its precision: ${others.map(option).join(' or ')}`
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

/** How a message names the number of elements of an array that has another. */
export function gotLength(what: string, values: ArrayLike<unknown>): string {
  return describe(values.length) + hint(() => ofNested(what, values[0]))
}

/** Of an array of arrays. */
function ofNested(what: string, first: unknown): string | undefined {
  if (Array.isArray(first)) return `pass ${what}.flat(Infinity)`
  return typedArrayKind(first) === undefined ? undefined : `pass ${what}.flatMap(row => Array.from(row))`
}

/** How a message names a flag of a mask that is none. */
export function gotFlag(value: unknown): string {
  if (typeof value === 'object') return describe(value) + hint(() => ofNested('mask', value))
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

/** What changes a property of a layer; none of the others does. */
const changes: { readonly [name: string]: string } = {
  weight: 'layer.setWeights({ ...layer.parameters(), weight }) replaces it',
  bias: 'layer.setWeights({ ...layer.parameters(), bias }) replaces it',
  runningMean: 'layer.runningMean.set(values) writes into it',
  runningVar: 'layer.runningVar.set(values) writes into it',
  numBatchesTracked: 'layer.loadState(state) takes one',
  training: 'layer.train() or layer.eval() changes it'
}

/** Has assignments to what a class only shows throw and say what changes it: by setters, which cost calls nothing. */
export function refuseAssignments(name: string, prototype: object): void {
  for (const [key, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    if (!descriptor.get) continue
    const advice = Object.hasOwn(changes, key) ? changes[key] : 'it stays as it is constructed: make another'
    const set = () => {
      throw new TypeError(`${name}: ${key} expected no assignment, got one; ${advice}`)
    }
    Object.defineProperty(prototype, key, { ...descriptor, set })
  }
}
