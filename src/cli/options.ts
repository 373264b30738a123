// Options of the commands that work on files: how they are read, and what their values must be.
import { parseArgs } from 'node:util'
import { precisions } from '../call/codes.js'
import { elementTypes, types16 } from '../kernels/elements.js'
import { normalizeRules } from '../kernels/normalize.js'
import { parsed, UsageError, wrongWord } from './usage.js'

/** Options as they were given, without the dashes: texts, true for flags, and lists of texts. */
export interface Given {
  readonly [option: string]: string | boolean | readonly string[] | undefined
}

/** Options as parseArgs wants them. */
export interface Known {
  readonly [option: string]: {
    readonly type: 'string' | 'boolean'
    readonly short?: string
    readonly multiple?: boolean
  }
}

/** Numbers that options take, and what they must be. */
export const numbers: { readonly [option: string]: readonly [expected: string, holds: (value: number) => boolean] } = {
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
  scale: ['a number', () => true],
  'normalize-scale': ['a number', () => true],
  'layer-norm-eps': ['a number >= 0', value => value >= 0],
  dimensions: ['an integer >= 1', value => Number.isSafeInteger(value) && value >= 1]
}

export const choices: { readonly [option: string]: readonly string[] } = {
  layout: ['channels-first', 'channels-last'],
  rule: normalizeRules,
  window: ['pytorch', 'onnx'],
  precision: precisions,
  'bit-order': ['msb', 'lsb'],
  dtype: types16,
  'out-dtype': elementTypes
}

/** So many options with a text, and flags without one. */
export function knownOptions(texts: readonly string[], flags: readonly string[]): Known {
  return Object.fromEntries([
    ...texts.map(option => [option, { type: 'string' }] as const),
    ...flags.map(option => [option, { type: 'boolean' }] as const)
  ])
}

/** A negative number behind an option is its value: parseArgs wants it behind a "=". */
function joinNegative(args: readonly string[], known: Known): string[] {
  const joined: string[] = []
  for (const arg of args) {
    const option = joined.at(-1) ?? ''
    if (/^-[\d.:]/.test(arg) && known[option.slice(2)]?.type === 'string') joined.push(`${joined.pop()}=${arg}`)
    else joined.push(arg)
  }
  return joined
}

/** Options of every command that writes a file. */
const common = {
  output: { type: 'string', short: 'o' },
  force: { type: 'boolean' },
  quiet: { type: 'boolean' },
  json: { type: 'boolean' }
} as const

/** Arguments of a command that writes a file: these options, and those that all such commands have. */
export function parseOptions(args: readonly string[], known: Known): { given: Given; positionals: string[] } {
  const options = { ...known, ...common }
  const { values, positionals } = parsed(
    () => parseArgs({ args: joinNegative(args, options), allowPositionals: true, options }),
    Object.keys(options)
  )
  return { given: values as Given, positionals }
}

/** Options that say what is done, without those that say where it goes and what is printed. */
export function withoutCommon(given: Given): Given {
  return Object.fromEntries(Object.entries(given).filter(([name]) => !Object.hasOwn(common, name) && name !== 'rows'))
}

/** The inputs of a command that takes any number of them. */
export function readInputs(inputs: readonly string[]): readonly string[] {
  if (inputs.length === 0) throw new UsageError('input expected at least one file, got 0 (- is standard input)')
  return inputs
}

/** The path that an option gives a result; `what` says how it is written. */
export function readPath(what: string, name: string, path: Given[string]): string {
  if (typeof path !== 'string' || path === '') throw new UsageError(`${name} expected a file (${what}), got nothing`)
  return path
}

export function readNumber(option: string, text: string): number {
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

/** One of these names. */
export function readChoice<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  const chosen = names.find(name => name === text)
  if (chosen === undefined) throw wrongWord(`--${option}`, names, text)
  return chosen
}

/** The values of options that are numbers or names. */
export interface Values {
  readonly number: { readonly [option: string]: number | undefined }
  readonly choice: { readonly [option: string]: string | undefined }
}

/** Reads those of the options that are numbers or names. */
export function readValues(options: readonly string[], given: Given): Values {
  const number: { [option: string]: number } = {}
  const choice: { [option: string]: string } = {}
  for (const option of options) {
    const text = given[option] as string | undefined
    if (text === undefined) continue
    if (Object.hasOwn(numbers, option)) {
      const value = readNumber(option, text)
      const [expected, holds] = numbers[option]
      if (!holds(value)) throw new UsageError(`--${option} expected ${expected}, got ${text}`)
      number[option] = value
    } else if (Object.hasOwn(choices, option)) choice[option] = readChoice(option, text, choices[option])
  }
  return { number, choice }
}

type Pairs = readonly (readonly [one: string, other: string])[]

/** Of these pairs not both may be given. */
export function checkExcluded(given: Given, pairs: Pairs): void {
  for (const [one, other] of pairs) {
    if (given[one] !== undefined && given[other] !== undefined) {
      throw new UsageError(`--${one} and --${other} exclude each other`)
    }
  }
}

/** The first of each pair does nothing without the other. */
export function checkNeeded(given: Given, pairs: Pairs): void {
  for (const [one, other] of pairs) {
    if (given[one] !== undefined && given[other] === undefined) throw new UsageError(`--${one} needs --${other}`)
  }
}
