// The operations of evenkeel apply: which options each has, how they are read, and what a block of the file goes through.
import {
  batchNorm,
  groupNorm,
  instanceNorm,
  type Layout,
  layerNorm,
  localResponseNorm,
  type NormalizeRule,
  normalize,
  rmsNorm
} from '../index.js'
import { shapeText } from './npy.js'
import { UsageError } from './usage.js'

/** Options as they were given, without the dashes: texts, and true for flags. */
export interface Given {
  readonly [option: string]: string | boolean | undefined
}

/** An array of a file. */
export interface Numbers<Values = Float32Array> {
  readonly data: Values
  readonly dims: readonly number[]
}

/** The files beside the input, read. */
export interface Files {
  readonly weight?: Numbers
  readonly bias?: Numbers
  readonly 'running-mean'?: Numbers<Float64Array>
  readonly 'running-var'?: Numbers<Float64Array>
  readonly lengths?: Numbers<Float64Array>
  readonly mask?: Numbers<Float64Array>
}

/** A part of the file, whole in all but the leading dimensions, and what belongs to it. */
export interface Block {
  readonly x: { readonly data: Float32Array; readonly dims: number[] }
  readonly residual: Float32Array | undefined
  readonly lengths: Float64Array | undefined
  readonly mask: Float64Array | undefined
}

/** How a file is normalised. */
export interface Plan {
  /** So many leading dimensions may be cut into blocks; 0: the file is one block. */
  readonly leading: number
  /** Normalises a block in place. */
  run(block: Block): void
}

/** An operation of the command line. */
export interface Operation {
  /** Options beside those that every operation has. */
  readonly options: readonly string[]
  /** Those that must be there. */
  readonly required?: readonly string[]
  /** Checks the shapes against each other; `name` is the file's. */
  plan(name: string, dims: readonly number[], options: Read, files: Files): Plan
}

/** Numbers that options take, and what they must be. */
const numbers: { readonly [option: string]: readonly [expected: string, holds: (value: number) => boolean] } = {
  eps: ['a number >= 0', value => value >= 0],
  'weight-offset': ['a number', () => true],
  partial: ['a number > 0 and <= 1', value => value > 0 && value <= 1],
  'residual-scale': ['a number', () => true],
  groups: ['an integer >= 1', value => Number.isSafeInteger(value) && value >= 1],
  size: ['an integer >= 1', value => Number.isSafeInteger(value) && value >= 1],
  alpha: ['a number', () => true],
  beta: ['a number', () => true],
  k: ['a number', () => true],
  p: ['a number > 0 or inf', value => value > 0],
  scale: ['a number', () => true]
}

const choices: { readonly [option: string]: readonly string[] } = {
  layout: ['channels-first', 'channels-last'],
  rule: ['clamp', 'clamp-square', 'add-square', 'mean-square', 'zero'],
  window: ['pytorch', 'onnx']
}

/** Options that name files. `lengths` may also be a list. */
export const fileOptions = ['weight', 'bias', 'running-mean', 'running-var', 'residual', 'lengths', 'mask']
const flags = ['training']

/** Every option of every operation, as parseArgs wants them. */
export const allOptions: { readonly [option: string]: { type: 'string' | 'boolean' } } = Object.fromEntries([
  ...[...Object.keys(numbers), ...Object.keys(choices), ...fileOptions, 'normalized-shape', 'axis'].map(
    option => [option, { type: 'string' }] as const
  ),
  ...flags.map(option => [option, { type: 'boolean' }] as const)
])

/** Options that were read. */
export interface Read {
  readonly number: { readonly [option: string]: number | undefined }
  readonly choice: { readonly [option: string]: string | undefined }
  readonly flag: { readonly [option: string]: boolean }
  readonly normalizedShape: number[] | undefined
  readonly axis: number[] | undefined
}

function readNumber(option: string, text: string): number {
  const value = text.trim() === '' ? Number.NaN : option === 'p' && text === 'inf' ? Infinity : Number(text)
  if (Number.isNaN(value) || (option !== 'p' && !Number.isFinite(value))) {
    throw new UsageError(`--${option} expected a number, got ${JSON.stringify(text)}`)
  }
  return value
}

/** A list of integers, e.g. 3,256. */
export function readList(option: string, text: string, smallest: number): number[] {
  const values = text.split(',').map(part => readNumber(option, part))
  if (!values.every(value => Number.isSafeInteger(value) && value >= smallest)) {
    const bound = smallest > Number.MIN_SAFE_INTEGER ? ` >= ${smallest}` : ''
    throw new UsageError(`--${option} expected integers${bound}, got ${text}`)
  }
  return values
}

/** Checks that an operation has these options, and reads all that are no files. */
export function readOptions(op: string, given: Given): Read {
  const { options, required = [] } = operations[op]
  for (const option of Object.keys(given)) {
    if (!options.includes(option)) throw new UsageError(`${op} has no --${option}`)
  }
  for (const option of required) {
    if (given[option] === undefined) throw new UsageError(`${op} needs --${option}`)
  }
  const texts = given as { readonly [option: string]: string | undefined }
  const number: { [option: string]: number } = {}
  const choice: { [option: string]: string } = {}
  for (const option of options) {
    const text = texts[option]
    if (text === undefined) continue
    if (Object.hasOwn(numbers, option)) {
      const value = readNumber(option, text)
      const [expected, holds] = numbers[option]
      if (!holds(value)) throw new UsageError(`--${option} expected ${expected}, got ${text}`)
      number[option] = value
    } else if (Object.hasOwn(choices, option)) {
      if (!choices[option].includes(text)) {
        throw new UsageError(`--${option} expected ${choices[option].join(', ')}, got ${JSON.stringify(text)}`)
      }
      choice[option] = text
    }
  }
  const excluded: readonly (readonly [string, string])[] = [
    ['normalized-shape', 'axis'],
    ['lengths', 'mask'],
    ['training', 'running-mean'],
    ['training', 'running-var']
  ]
  for (const [one, other] of excluded) {
    if (given[one] !== undefined && given[other] !== undefined) {
      throw new UsageError(`--${one} and --${other} exclude each other`)
    }
  }
  for (const [one, other] of [
    ['weight-offset', 'weight'],
    ['residual-scale', 'residual']
  ]) {
    if (given[one] !== undefined && given[other] === undefined) throw new UsageError(`--${one} needs --${other}`)
  }
  if (op === 'batch-norm' && !given.training) {
    for (const option of ['running-mean', 'running-var']) {
      if (given[option] === undefined) throw new UsageError(`batch-norm needs --${option}, or --training`)
    }
  }
  const { 'normalized-shape': shape, axis } = texts
  return {
    number,
    choice,
    flag: { training: given.training === true },
    normalizedShape: shape === undefined ? undefined : readList('normalized-shape', shape, 1),
    axis: axis === undefined ? undefined : readList('axis', axis, Number.MIN_SAFE_INTEGER)
  }
}

const product = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1)

/** Weights have exactly the shape of what they belong to: another with as many elements is a mistake. */
function checkShapes(files: Files, names: readonly (keyof Files)[], expected: readonly number[]): void {
  for (const name of names) {
    const dims = files[name]?.dims
    if (dims && shapeText(dims) !== shapeText(expected)) {
      throw new Error(`--${name}: shape expected ${shapeText(expected)}, got ${shapeText(dims)}`)
    }
  }
}

/** Lengths or mask must fit N samples of L positions. */
function checkPadding(files: Files, samples: number, positions: number): void {
  const { lengths, mask } = files
  checkShapes(files, ['lengths'], [samples])
  checkShapes(files, ['mask'], [samples, positions])
  const bad = lengths?.data.find(length => !Number.isSafeInteger(length) || length < 0 || length > positions)
  if (bad !== undefined) throw new Error(`--lengths: expected integers from 0 to ${positions}, got ${bad}`)
  const odd = mask?.data.find(flag => flag !== 0 && flag !== 1)
  if (odd !== undefined) throw new Error(`--mask: expected 0 and 1, got ${odd}`)
}

function checkPadded(name: string, dims: readonly number[], { lengths, mask }: Files): boolean {
  const option = lengths ? '--lengths' : '--mask'
  if (!lengths && !mask) return false
  if (dims.length !== 3) throw new Error(`${name}: shape expected 3 dimensions (${option}), got ${shapeText(dims)}`)
  return true
}

/** What a row operation normalises over, and how far the file may be cut into blocks. */
function planRows(name: string, dims: readonly number[], { normalizedShape, axis }: Read, files: Files) {
  const { axes, over, leading } = axis
    ? overAxes(name, dims, axis)
    : overTrailing(name, dims, normalizedShape ?? dims.slice(-1))
  checkShapes(files, ['weight', 'bias'], over)
  if (!checkPadded(name, dims, files)) return { axes, over, leading }
  if (axes.length !== 1 || axes[0] === 0) {
    throw new Error(`${name}: axis expected 1 or 2 with padding, got ${axes.join(', ')}`)
  }
  checkPadding(files, dims[0], dims[3 - axes[0]])
  return { axes, over, leading: 1 }
}

function overTrailing(name: string, dims: readonly number[], shape: readonly number[]) {
  if (shape.length === 0 || shape.includes(0)) {
    throw new Error(`${name}: shape expected a last dimension >= 1, got ${shapeText(dims)}`)
  }
  const leading = dims.length - shape.length
  if (leading < 0 || shape.some((dim, i) => dim !== dims[leading + i])) {
    throw new Error(`${name}: last dims expected ${shape.join(', ')}, got shape ${shapeText(dims)}`)
  }
  return { axes: shape.map((_, i) => leading + i), over: shape, leading }
}

function overAxes(name: string, dims: readonly number[], given: readonly number[]) {
  const axes = given.map(axis => (axis < 0 ? axis + dims.length : axis)).sort((a, b) => a - b)
  if (axes.some((axis, i) => !(axis >= 0 && axis < dims.length) || axis === axes[i - 1])) {
    const range = `integers from ${-dims.length} to ${dims.length - 1}, each once`
    throw new Error(`${name}: --axis expected ${range}, got ${given.join(', ')} for shape ${shapeText(dims)}`)
  }
  const over = axes.map(axis => dims[axis])
  if (over.includes(0)) throw new Error(`${name}: --axis expected dimensions >= 1, got ${over.join(', ')}`)
  return { axes, over, leading: axes[0] }
}

/** Axes counted from the end: the same in the file and in its blocks. */
const fromEnd = (axes: readonly number[], dims: readonly number[]) => ({ axis: axes.map(axis => axis - dims.length) })

/** Samples of channels: samples can be cut apart. */
function planChannels(name: string, dims: readonly number[], { choice }: Read, files: Files): Layout {
  if (dims.length < 2) throw new Error(`${name}: shape expected at least 2 dimensions, got ${shapeText(dims)}`)
  const layout = (choice.layout ?? 'channels-first') as Layout
  const channels = layout === 'channels-first' ? dims[1] : dims[dims.length - 1]
  if (channels === 0) throw new Error(`${name}: shape expected at least one channel, got ${shapeText(dims)}`)
  checkShapes(files, ['weight', 'bias', 'running-mean', 'running-var'], [channels])
  if (checkPadded(name, dims, files)) checkPadding(files, dims[0], dims[layout === 'channels-first' ? 2 : 1])
  return layout
}

const padding = ['lengths', 'mask']
const rows = ['weight', 'eps', 'normalized-shape', 'axis', 'residual', 'residual-scale', ...padding]

/** By the name on the command line. */
export const operations: { readonly [name: string]: Operation } = {
  'layer-norm': {
    options: [...rows, 'bias'],
    plan(name, dims, read, files) {
      const { axes, leading } = planRows(name, dims, read, files)
      const { eps, 'residual-scale': residualScale } = read.number
      const parameters = { weight: files.weight?.data, bias: files.bias?.data, eps, residualScale }
      const run = ({ x, ...part }: Block) => void layerNorm(x, fromEnd(axes, dims), { ...parameters, ...part, out: x })
      return { leading, run }
    }
  },
  'rms-norm': {
    options: [...rows, 'weight-offset', 'partial'],
    plan(name, dims, read, files) {
      const { axes, leading } = planRows(name, dims, read, files)
      const { eps, partial, 'weight-offset': weightOffset, 'residual-scale': residualScale } = read.number
      const parameters = { weight: files.weight?.data, eps, partial, weightOffset, residualScale }
      const run = ({ x, ...part }: Block) => void rmsNorm(x, fromEnd(axes, dims), { ...parameters, ...part, out: x })
      return { leading, run }
    }
  },
  normalize: {
    options: ['normalized-shape', 'axis', 'p', 'eps', 'rule', 'scale'],
    plan(name, dims, read, files) {
      const { axes, leading } = planRows(name, dims, read, files)
      const { p, eps, scale } = read.number
      const parameters = { p, eps, scale, rule: read.choice.rule as NormalizeRule | undefined }
      return { leading, run: ({ x }) => void normalize(x, fromEnd(axes, dims), { ...parameters, out: x }) }
    }
  },
  'batch-norm': {
    options: ['weight', 'bias', 'running-mean', 'running-var', 'training', 'eps', 'layout', ...padding],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const { training } = read.flag
      const parameters = {
        weight: files.weight?.data,
        bias: files.bias?.data,
        runningMean: files['running-mean']?.data,
        runningVar: files['running-var']?.data,
        eps: read.number.eps,
        layout,
        training
      }
      const run = ({ x, lengths, mask }: Block) => void batchNorm(x, { ...parameters, lengths, mask, out: x })
      return { leading: training ? 0 : 1, run }
    }
  },
  'group-norm': {
    options: ['groups', 'weight', 'bias', 'eps', 'layout'],
    required: ['groups'],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const parameters = { weight: files.weight?.data, bias: files.bias?.data, eps: read.number.eps, layout }
      const groups = read.number.groups as number
      return { leading: 1, run: ({ x }) => void groupNorm(x, groups, { ...parameters, out: x }) }
    }
  },
  'instance-norm': {
    options: ['weight', 'bias', 'eps', 'layout', ...padding],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const parameters = { weight: files.weight?.data, bias: files.bias?.data, eps: read.number.eps, layout }
      const run = ({ x, lengths, mask }: Block) => void instanceNorm(x, { ...parameters, lengths, mask, out: x })
      return { leading: 1, run }
    }
  },
  'local-response-norm': {
    options: ['size', 'alpha', 'beta', 'k', 'window', 'layout'],
    required: ['size'],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const { alpha, beta, k } = read.number
      const parameters = { alpha, beta, k, window: read.choice.window as 'pytorch' | 'onnx' | undefined, layout }
      const size = read.number.size as number
      return { leading: 1, run: ({ x }) => void localResponseNorm(x, size, { ...parameters, out: x }) }
    }
  }
}

/** Number of blocks' units (the product of the leading dimensions), and elements of a unit. */
export function unitsOf(dims: readonly number[], leading: number): { units: number; elements: number } {
  return { units: product(dims.slice(0, leading)), elements: product(dims.slice(leading)) }
}
