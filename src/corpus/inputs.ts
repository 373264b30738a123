// Which files belong to a corpus: its shards, and those that options name.
import { lstat, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { scaleNames } from '../cli/embed.js'
import type { Given } from '../cli/options.js'
import { UsageError } from '../cli/usage.js'
import { formatOfName, formats, stemOfName } from './formats.js'
import { placesOf } from './job.js'

/** Options of embed that name results beside the embeddings. */
export const besideOptions = ['norm', 'scales']

const fileOptions = ['weight', 'bias', 'running-mean', 'running-var', 'residual', 'mask']
/** These may also be lists of numbers. */
const fileOrListOptions = ['lengths', 'skip']

/** The files that options name and the operation reads. */
export function fileOptionsOf(op: string, given: Given): { [option: string]: string } {
  const named = ([option, value]: [string, unknown]) =>
    fileOptions.includes(option) ||
    (fileOrListOptions.includes(option) && !/^[\d\s,]+$/.test(value as string)) ||
    (op === 'embed' && option === 'scale' && ![...scaleNames, 'ranges'].includes(value as string))
  return Object.fromEntries(Object.entries(given).filter(named)) as { [option: string]: string }
}

/** Options in the order of their names, with whole paths. */
export function wholePaths(op: string, given: Given): Given {
  const files = { ...fileOptionsOf(op, given), ...Object.fromEntries(besideOptions.map(name => [name, given[name]])) }
  const whole = ([option, value]: [string, unknown]) =>
    [option, typeof files[option] === 'string' ? resolve(files[option]) : value] as const
  return Object.fromEntries(Object.entries(given).sort(byName).map(whole)) as Given
}

const byName = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1)

/** Options of one shard: {name} stands for its base name. */
export function optionsOf(given: Given, input: string): Given {
  const name = stemOfName(input)
  const filled = ([option, value]: [string, unknown]) =>
    [option, typeof value === 'string' ? value.replaceAll('{name}', name) : value] as const
  return Object.fromEntries(Object.entries(given).map(filled)) as Given
}

/** The shards that patterns name: whole paths, in the order of their code units. */
export async function findShards(patterns: readonly string[]): Promise<string[]> {
  const found = new Set<string>()
  for (const pattern of patterns) {
    const matches = await matching(pattern)
    if (matches.length === 0) throw new Error(`--in expected files, got none for ${pattern}`)
    for (const match of matches) found.add(resolve(match))
  }
  return [...found].sort()
}

async function matching(pattern: string): Promise<string[]> {
  // A file of that very name, whatever signs it has.
  const about = await stat(pattern).catch(() => undefined)
  if (about?.isFile()) return [pattern]
  const { glob } = await import('tinyglobby')
  const slashes = sep === '/' ? pattern : pattern.replaceAll(sep, '/')
  return glob(slashes, { absolute: true, dot: true, expandDirectories: false })
}

/** Each shard has an output of its own, which is none of the inputs and overwrites nothing that is not a corpus's. */
export async function checkShards(
  inputs: readonly string[],
  folder: string,
  given: Given,
  force: boolean
): Promise<void> {
  for (const option of besideOptions) checkBeside(option, given[option] as string | undefined, inputs, folder)
  const names = new Map<string, string>()
  for (const input of inputs) {
    if (!formatOfName(input)) {
      throw new Error(`--in expected names that end in .${formats.join(', .')}, got ${input}`)
    }
    const { norm, scales } = optionsOf(given, input)
    for (const name of [placesOf(folder, input, given).output, norm, scales] as (string | undefined)[]) {
      if (name === undefined) continue
      const other = names.get(name)
      if (other && other !== input) throw new Error(`--in expected base names of their own, got ${other} and ${input}`)
      names.set(name, input)
    }
  }
  const real = await realpath(folder).catch(() => folder)
  const sources = new Set(await Promise.all(inputs.map(input => realpath(input).catch(() => input))))
  for (const input of inputs) {
    const { output, manifest } = placesOf(real, input, given)
    if (sources.has(output) || sources.has(join(real, basename(input))))
      throw new Error(`--out-dir expected another folder than that of ${output}, an input`)
    if (force || (await lstat(manifest).catch(() => undefined))) continue
    const { norm, scales } = optionsOf(given, input)
    for (const path of [output, norm, scales]) {
      const there = typeof path === 'string' && (await lstat(path).catch(() => undefined))
      if (there) throw new Error(`${path} exists, and no manifest says that a corpus made it; --force overwrites it`)
    }
  }
}

/** Norms and scales go elsewhere: what ends in .npy in the output folder are the results. */
function checkBeside(option: string, path: string | undefined, inputs: readonly string[], folder: string): void {
  if (path === undefined) return
  if (!basename(path).includes('{name}') && inputs.length > 1) {
    throw new UsageError(`--${option} expected {name} in the file's name, for each shard has its own, got ${path}`)
  }
  if (dirname(path) === folder || join(path) === folder) {
    throw new UsageError(`--${option} expected a file outside of --out-dir, got ${path}`)
  }
}
