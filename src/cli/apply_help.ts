// What `evenkeel apply --help` prints: one table of options, for all operations or for one.
import { operations } from './operations.js'
import { commonHelp, dtypeHelp } from './run_files.js'

/** What an operation does. */
const formulas: { readonly [op: string]: string } = {
  'layer-norm': '(x - mean) / sqrt(variance + eps) * weight + bias',
  'rms-norm': 'x / sqrt(mean of squares + eps) * (weight + weight offset)',
  normalize: 'x / max(p-norm, eps) * scale',
  'batch-norm': 'statistics of each channel: running ones, or with --training those of the file',
  'group-norm': 'statistics of each sample and group of channels',
  'instance-norm': 'statistics of each sample and channel',
  'local-response-norm': 'x / (k + alpha / size * sum of squares over a window of channels)^beta'
}
const overRows = ['layer-norm', 'rms-norm', 'normalize']
const ops = Object.keys(formulas)
const list = (names: readonly string[]) => names.map(op => `  ${op.padEnd(21)} ${formulas[op]}`).join('\n')

const affine = (what: string, none: string) => (op: string) =>
  `${what}, one element for each ${overRows.includes(op) ? 'of a group' : 'channel'}; default: none (${none})`

/** The value of each option, and what it says of an operation, with its default. */
const options: { readonly [option: string]: readonly [value: string, text: string | ((op: string) => string)] } = {
  weight: ['file', affine('scale', '1')],
  bias: ['file', affine('shift', '0')],
  eps: [
    'number',
    op => {
      if (op === 'normalize') return 'bounds the norm, in the unit of x; default 1e-12'
      return op === 'rms-norm'
        ? "added to the mean of squares, in x's unit squared; default 1e-6"
        : "added to the variance, in x's unit squared; default 1e-5"
    }
  ],
  'normalized-shape': ['list', 'the trailing dimensions of a group, e.g. 3,256; default: the last one'],
  axis: ['list', 'the axes of a group in their place, e.g. 1 or 1,2, or -1 from the end'],
  residual: ['file', "of the input's shape, added to it first; default: none"],
  'residual-scale': ['number', 'multiplies the residual; default 1'],
  'weight-offset': ['number', 'added to every weight; default 0'],
  partial: ['number', 'fraction of the group whose mean of squares is taken, above 0 and up to 1; default 1'],
  p: ['number', 'which norm, above 0; inf for the largest magnitude; default 2'],
  rule: ['name', 'where eps stands: clamp, clamp-square, add-square, mean-square or zero; default clamp'],
  scale: ['number', 'multiplies the result; default 1'],
  'running-mean': ['file', 'mean of each channel, float32 or float64; needed without --training'],
  'running-var': ['file', 'variance of each channel, float32 or float64; needed without --training'],
  training: ['', 'the statistics of the file, which is then held in memory; default: running ones'],
  groups: ['number', 'how many groups of channels; needed'],
  size: ['number', 'channels in a window; needed'],
  alpha: ['number', 'default 1e-4'],
  beta: ['number', 'default 0.75'],
  k: ['number', 'default 1'],
  window: ['name', 'of an even size: pytorch or onnx; default pytorch'],
  layout: [
    'name',
    'channels-first [samples, channels, ...] or channels-last [samples, ..., channels]; default channels-first'
  ],
  lengths: [
    'list or file',
    'real positions of each sample, e.g. 10,20, or integers [samples]; the others count nowhere and become 0; default: all'
  ],
  mask: ['file', 'the same as flags [samples, positions]: bool, integers or float32, 1 where real; default: all']
}

/** In the order of the table. */
const optionsOf = (op: string) => Object.keys(options).filter(option => operations[op].options.includes(option))

/** The text behind the name of an option, wrapped. */
function entry(option: string, op: string): string {
  const [value, text] = options[option]
  const left = `      --${option}${value === '' ? '' : ` <${value}>`}`
  const width = 86
  const lines: string[] = []
  for (const word of (typeof text === 'string' ? text : text(op)).split(' ')) {
    const last = lines.at(-1)
    if (last === undefined || last.length + word.length >= width) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines.map((line, i) => `${(i === 0 ? left : '').padEnd(35)}${line}`).join('\n')
}

const files = `Files are .npy of float32 ('<f4'), float16 ('<f2') or bfloat16 ('<V2', as numpy holds it), little-endian; - is standard
input or output. The result has the type of the input; a residual must have it, weights may have another. A file is read in
blocks, except where everything in it belongs together (--training, --axis 0) or where it is a matrix in Fortran order.`

const elementsHelp = `${dtypeHelp}
      --out-dtype <name>         float32, float16 or bfloat16 (then '<V2'): the type of the result; default: that of the input
`

/** What is read and written in a pipe. */
const pipe = (op: string) => `In a pipe: cat in.npy | evenkeel apply ${op} - -o - | gzip > out.npy.gz`

export const applyHelp = `Usage: evenkeel apply <op> <in.npy>... -o <out.npy or folder> [options]

Normalises .npy files, and writes others of the same shape.
${files}

Ops over the last dimension, or over what --normalized-shape or --axis name:
${list(overRows)}

Ops over channels, of files [rows, features] or [samples, channels, ...]:
${list(ops.filter(op => !overRows.includes(op)))}

Options of each op; "evenkeel apply <op> --help" explains them:
${ops.map(op => `  ${op.padEnd(21)} ${wrapped(optionsOf(op))}`).join('\n')}

Options of all:
${elementsHelp}${commonHelp}
${pipe('layer-norm')}
`

function wrapped(names: readonly string[]): string {
  const half = names.length > 8 ? Math.ceil(names.length / 2) : names.length
  const line = (part: readonly string[]) => part.map(name => `--${name}`).join(' ')
  return [names.slice(0, half), names.slice(half)]
    .filter(part => part.length > 0)
    .map(line)
    .join(`\n${' '.repeat(24)}`)
}

/** What is printed for one operation; undefined where it is none. */
export function helpOf(op: string | undefined): string | undefined {
  if (op === undefined || !Object.hasOwn(operations, op)) return undefined
  return `Usage: evenkeel apply ${op} <in.npy>... -o <out.npy or folder> [options]

${formulas[op]}

${files}

Options of ${op}:
${optionsOf(op)
  .map(option => entry(option, op))
  .join('\n')}

Options of every op:
${elementsHelp}${commonHelp}
${pipe(op)}
`
}
