// Where results go: names are checked before any work begins.
import { lstat, realpath, stat } from 'node:fs/promises'
import { basename, dirname, extname, join, resolve, sep } from 'node:path'
import { checkStandardOutput, isStandardOutput } from './sink.js'
import { STANDARD_INPUT } from './source.js'
import { removeStale } from './temporary.js'
import { UsageError } from './usage.js'

/** Where a result goes. */
export interface Output {
  /** "-" for standard output. */
  readonly path: string
  /** Of the file that it replaces. */
  readonly mode: number | undefined
  readonly force: boolean
}

/** A new file, or with `force` the regular file that is there (at the end of links), whose mode the new one gets. */
export async function resolveOutput(output: string, force: boolean): Promise<Output> {
  if (isStandardOutput(output)) {
    checkStandardOutput()
    return { path: '-', mode: undefined, force }
  }
  await checkFolder(dirname(output))
  await removeStale(output)
  const there = await lstat(output).catch(() => undefined)
  if (!there) return { path: output, mode: undefined, force }
  if (!force) throw new Error(`${output} exists; --force overwrites it`)
  const path = await realpath(output)
  const about = await stat(path)
  if (!about.isFile()) throw new Error(`${output}: output expected a regular file, got something else`)
  return { path, mode: about.mode, force }
}

async function checkFolder(folder: string): Promise<void> {
  const about = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (!about) throw new Error(`the output folder ${folder} is not there; make it first: mkdir -p ${folder}`)
  if (!about.isDirectory()) throw new Error(`output expected a folder, got the file ${folder}`)
}

/** The same for several results, each in a file of its own. */
export async function resolveOutputs(outputs: readonly string[], force: boolean): Promise<Output[]> {
  const resolved: Output[] = []
  for (const output of outputs) {
    const next = await resolveOutput(output, force)
    if (resolved.some(({ path }) => resolve(path) === resolve(next.path))) {
      throw new UsageError(`output expected a file for each result, got ${output} twice`)
    }
    resolved.push(next)
  }
  return resolved
}

/** Formats by the ends of names, other than .npy: a file of that name would not be what it says. */
const otherFormats =
  /^\.(npz|csv|tsv|txt|jsonl?|parquet|arrow|feather|pt|pth|safetensors|onnx|bin|h5|hdf5|mat|pkl|pickle|zip|gz|zst|xz|tar)$/i

/** An output's name must not name another format. */
export function checkFormat(name: string, output: string, ours: '.npy' | '.json' = '.npy'): void {
  const end = extname(output).toLowerCase()
  if (end === ours) return
  if (otherFormats.test(end) || end === '.npy') {
    throw new UsageError(`${name} expected a name that ends in ${ours}, got ${output}: no ${end} file is written`)
  }
}

/**
 * The names of the results of these inputs: the output itself, or files of the inputs' names in it where it is a folder.
 * `name` is the option's.
 */
export async function outputNames(inputs: readonly string[], name: string, output: string): Promise<string[]> {
  const isFolder =
    output.endsWith('/') ||
    output.endsWith(sep) ||
    (await stat(output).then(
      about => about.isDirectory(),
      () => false
    ))
  if (!isFolder) {
    if (inputs.length > 1) {
      const advice = 'make a folder, and write / behind its name'
      throw new UsageError(`${name} expected a folder for ${inputs.length} inputs, got ${output}; ${advice}`)
    }
    checkFormat(name, output)
    return [output]
  }
  return inputs.map(input => {
    if (input === STANDARD_INPUT)
      throw new UsageError(`${name} expected a file for -, which has no name, got ${output}`)
    const path = join(output, basename(input))
    checkFormat(name, path)
    return path
  })
}
