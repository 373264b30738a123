// The operations of evenkeel apply: which options each has, how they are read, and what a block of the file goes through.
import {
  type BatchStatistics,
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
import type { FileTensor } from './elements.js'
import { shapeText } from './npy.js'
import {
  checkExcluded,
  checkNeeded,
  choices,
  type Given,
  knownOptions,
  numbers,
  readList,
  readValues,
  type Values
} from './options.js'
import { checkPadded, checkPadding, checkShapes, type Files } from './parameters.js'
import { optionHint, UsageError } from './usage.js'

/** A part of the file, whole in all but the leading dimensions, and what belongs to it. */
export interface Block {
  readonly x: FileTensor
  /** Where the result goes: x itself, where it has the same type. */
  readonly out: FileTensor
  readonly residual: FileTensor | undefined
  readonly lengths: Float64Array | undefined
  readonly mask: Uint8Array | undefined
}

/** How a file is normalised. */
export interface Plan {
  /** So many leading dimensions may be cut into blocks; 0: the file is one block. */
  readonly leading: number
  /** Normalises a block. */
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

/** Options of every operation. */
export const elementOptions: readonly string[] = ['dtype', 'out-dtype']

/** Options that name files. `lengths` may also be a list. */
const fileOptions = ['weight', 'bias', 'running-mean', 'running-var', 'residual', 'lengths', 'mask']

/** Every option of every operation. */
export const allOptions = knownOptions(
  [...Object.keys(numbers), ...Object.keys(choices), ...fileOptions, 'normalized-shape', 'axis'],
  ['training']
)

/** Options that were read. */
export interface Read extends Values {
  readonly flag: { readonly [option: string]: boolean }
  readonly normalizedShape: number[] | undefined
  readonly axis: number[] | undefined
  /** Of batch-norm --training: those of more than the file, to be taken in the place of its own. */
  readonly statistics?: BatchStatistics
}

/** Checks that an operation has these options, and reads all that are no files. */
export function readOptions(op: string, given: Given): Read {
  const { required = [] } = operations[op]
  const options = [...operations[op].options, ...elementOptions]
  for (const option of Object.keys(given)) {
    if (!options.includes(option)) throw new UsageError(`${op} has no --${option}${optionHint(option, options)}`)
  }
  for (const option of required) {
    if (given[option] === undefined) throw new UsageError(`${op} needs --${option}`)
  }
  const values = readValues(options, given)
  checkExcluded(given, [
    ['normalized-shape', 'axis'],
    ['lengths', 'mask'],
    ['training', 'running-mean'],
    ['training', 'running-var']
  ])
  checkNeeded(given, [
    ['weight-offset', 'weight'],
    ['residual-scale', 'residual']
  ])
  if (op === 'batch-norm' && !given.training) {
    for (const option of ['running-mean', 'running-var']) {
      if (given[option] === undefined) throw new UsageError(`batch-norm needs --${option}, or --training`)
    }
  }
  const { 'normalized-shape': shape, axis } = given as { readonly [option: string]: string | undefined }
  return {
    ...values,
    flag: { training: given.training === true },
    normalizedShape: shape === undefined ? undefined : readList('normalized-shape', shape, 1),
    axis: axis === undefined ? undefined : readList('axis', axis, Number.MIN_SAFE_INTEGER)
  }
}

const product = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1)

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
export function planChannels(name: string, dims: readonly number[], { choice }: Read, files: Files): Layout {
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
      const parameters = { weight: files.weight, bias: files.bias, eps, residualScale }
      const run = ({ x, ...part }: Block) => void layerNorm(x, fromEnd(axes, dims), { ...parameters, ...part })
      return { leading, run }
    }
  },
  'rms-norm': {
    options: [...rows, 'weight-offset', 'partial'],
    plan(name, dims, read, files) {
      const { axes, leading } = planRows(name, dims, read, files)
      const { eps, partial, 'weight-offset': weightOffset, 'residual-scale': residualScale } = read.number
      const parameters = { weight: files.weight, eps, partial, weightOffset, residualScale }
      const run = ({ x, ...part }: Block) => void rmsNorm(x, fromEnd(axes, dims), { ...parameters, ...part })
      return { leading, run }
    }
  },
  normalize: {
    options: ['normalized-shape', 'axis', 'p', 'eps', 'rule', 'scale', ...padding],
    plan(name, dims, read, files) {
      const { axes, leading } = planRows(name, dims, read, files)
      const { p, eps, scale } = read.number
      const parameters = { p, eps, scale, rule: read.choice.rule as NormalizeRule | undefined }
      const run = ({ x, out, lengths, mask }: Block) =>
        void normalize(x, fromEnd(axes, dims), { ...parameters, lengths, mask, out })
      return { leading, run }
    }
  },
  'batch-norm': {
    options: ['weight', 'bias', 'running-mean', 'running-var', 'training', 'eps', 'layout', ...padding],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const { training } = read.flag
      const parameters = {
        weight: files.weight,
        bias: files.bias,
        runningMean: files['running-mean']?.data,
        runningVar: files['running-var']?.data,
        eps: read.number.eps,
        layout,
        training,
        statistics: read.statistics
      }
      const run = ({ x, out, lengths, mask }: Block) => void batchNorm(x, { ...parameters, lengths, mask, out })
      return { leading: training && !read.statistics ? 0 : 1, run }
    }
  },
  'group-norm': {
    options: ['groups', 'weight', 'bias', 'eps', 'layout', ...padding],
    required: ['groups'],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const parameters = { weight: files.weight, bias: files.bias, eps: read.number.eps, layout }
      const groups = read.number.groups as number
      const run = ({ x, out, lengths, mask }: Block) => void groupNorm(x, groups, { ...parameters, lengths, mask, out })
      return { leading: 1, run }
    }
  },
  'instance-norm': {
    options: ['weight', 'bias', 'eps', 'layout', ...padding],
    plan(name, dims, read, files) {
      const layout = planChannels(name, dims, read, files)
      const parameters = { weight: files.weight, bias: files.bias, eps: read.number.eps, layout }
      const run = ({ x, out, lengths, mask }: Block) => void instanceNorm(x, { ...parameters, lengths, mask, out })
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
      return { leading: 1, run: ({ x, out }) => void localResponseNorm(x, size, { ...parameters, out }) }
    }
  }
}

/** Number of blocks' units (the product of the leading dimensions), and elements of a unit. */
export function unitsOf(dims: readonly number[], leading: number): { units: number; elements: number } {
  return { units: product(dims.slice(0, leading)), elements: product(dims.slice(leading)) }
}

/** Rows along the last dimension. */
export const rowsOf = (dims: readonly number[]): number => product(dims.slice(0, -1))
