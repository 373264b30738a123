// evenkeel apply: normalises a .npy file, block by block.
import { randomUUID } from 'node:crypto'
import { createReadStream, rmSync } from 'node:fs'
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import { parseArgs } from 'node:util'
import {
  bytesOf,
  type Dtype,
  npyHeader,
  readElements,
  readNpyHeader,
  readNumbers,
  shapeText,
  writeElements,
  writeFully
} from './npy.js'
import {
  allOptions,
  type Block,
  type Files,
  fileOptions,
  type Given,
  type Numbers,
  operations,
  type Plan,
  type Read,
  readList,
  readOptions,
  unitsOf
} from './operations.js'
import { type Command, parsed, UsageError } from './usage.js'

/** Elements of a block: large enough to keep the kernels busy, small against any memory. */
const BLOCK_ELEMENTS = 2 ** 20

const help = `Usage: evenkeel apply <op> <in.npy> -o <out.npy> [options]

Normalises a .npy file of float32 (C order, little-endian) and writes another of the same shape. The file is read in blocks,
except where everything in it belongs together (--training, --axis 0).

Ops over the last dimension, or over what --normalized-shape or --axis name:
  layer-norm            (x - mean) / sqrt(variance + eps) * weight + bias
  rms-norm              x / sqrt(mean of squares + eps) * (weight + weight offset)
  normalize             x / max(p-norm, eps) * scale

Ops over channels, of files [rows, features], [samples, channels, ...] or, with --layout channels-last,
[samples, ..., channels]; all but the last: (x - mean) / sqrt(variance + eps) * weight + bias
  batch-norm            running statistics of each channel, or with --training those of the file
  group-norm            statistics of each sample and group of channels
  instance-norm         statistics of each sample and channel
  local-response-norm   x / (k + alpha / size * sum of squares over a window of channels)^beta

Options:
  -o, --output <file>            where the result goes
      --force                    overwrite the output file
      --weight, --bias <file>    one element for each of a group, or for each channel
                                 (bias: not rms-norm; neither: normalize, local-response-norm)
      --eps <number>             default 1e-5, rms-norm 1e-6, normalize 1e-12; not local-response-norm
      --lengths <list or file>   real positions of each sample, e.g. 10,20; the others count nowhere and become 0
      --mask <file>              the same as flags [samples, positions]: bool, integers or float32
                                 (both for files of 3 dimensions: layer-norm, rms-norm, batch-norm, instance-norm)
  -h, --help                     this text

  layer-norm, rms-norm, normalize:
      --normalized-shape <list>  the trailing dimensions of a group, e.g. 3,256; default: the last one
      --axis <list>              the axes of a group in their place, e.g. 1 or 1,2, or -1 from the end
  layer-norm, rms-norm:
      --residual <file>          of the input's shape; added to it first
      --residual-scale <number>  multiplies the residual, default 1
  rms-norm:
      --weight-offset <number>   added to every weight, default 0
      --partial <number>         fraction of the group whose mean of squares is taken, default 1
  normalize:
      --p <number>               which norm, default 2; inf for the largest magnitude
      --rule <name>              clamp (default), clamp-square, add-square, mean-square or zero: where eps stands
      --scale <number>           default 1
  batch-norm:
      --running-mean, --running-var <file>  one element for each channel, float32 or float64
      --training                 the statistics of the file in their place
  group-norm:
      --groups <number>          how many groups of channels
  local-response-norm:
      --size <number>            channels in a window
      --alpha, --beta, --k <number>  default 1e-4, 0.75, 1
      --window <name>            of an even size: pytorch (default) or onnx
  batch-norm, group-norm, instance-norm, local-response-norm:
      --layout <name>            channels-first (default) or channels-last
`

interface Options {
  readonly op: string
  readonly input: string
  readonly output: string
  readonly force: boolean
  readonly given: Given
  readonly read: Read
}

/** A negative number behind an option is its value: parseArgs wants it behind a "=". */
function joinNegative(args: readonly string[]): string[] {
  const joined: string[] = []
  for (const arg of args) {
    const option = joined.at(-1) ?? ''
    if (/^-[\d.]/.test(arg) && allOptions[option.slice(2)]?.type === 'string') joined.push(`${joined.pop()}=${arg}`)
    else joined.push(arg)
  }
  return joined
}

function readArguments(args: readonly string[]): Options {
  const { values, positionals } = parsed(() =>
    parseArgs({
      args: joinNegative(args),
      allowPositionals: true,
      options: { ...allOptions, output: { type: 'string', short: 'o' }, force: { type: 'boolean' } }
    })
  )
  const [op, input, ...more] = positionals
  if (op === undefined || !Object.hasOwn(operations, op)) {
    const got = op === undefined ? 'nothing' : JSON.stringify(op)
    throw new UsageError(`op expected ${Object.keys(operations).join(', ')}, got ${got}`)
  }
  if (input === undefined || more.length > 0) {
    throw new UsageError(`input expected one file, got ${positionals.length - 1}`)
  }
  const { output, force, ...given } = values as Given
  if (!output) throw new UsageError('output expected a file (-o out.npy), got nothing')
  if ((output as string).endsWith('/') || (output as string).endsWith(sep)) {
    throw new UsageError(`output expected a file (-o out.npy), got the folder ${output}`)
  }
  return { op, input, output: output as string, force: force === true, given, read: readOptions(op, given) }
}

async function withFile<Result>(
  path: string,
  flags: string,
  use: (file: FileHandle) => Promise<Result>,
  mode?: number
): Promise<Result> {
  const file = await open(path, flags, mode === undefined ? undefined : mode & 0o777)
  try {
    if (mode !== undefined) await file.chmod(mode) // what the umask took away
    return await use(file)
  } finally {
    await file.close()
  }
}

/** Throws where a file is too short for its header. What is no regular file (a pipe) shows it when it is read. */
async function checkSize(path: string, bytes: number, start: number): Promise<void> {
  const about = await stat(path)
  if (about.isFile() && about.size - start < bytes) {
    throw new Error(`${path}: data expected ${bytes} bytes, got ${about.size - start}`)
  }
}

/** Where the output goes. */
interface Output {
  readonly path: string
  /** Of the file that it replaces. */
  readonly mode: number | undefined
  readonly force: boolean
}

/** A new file, or with `force` the regular file that is there (at the end of links), whose mode the new one gets. */
async function resolveOutput(output: string, force: boolean): Promise<Output> {
  const there = await lstat(output).catch(() => undefined)
  if (!there) return { path: output, mode: undefined, force }
  if (!force) throw new Error(`${output} exists; --force overwrites it`)
  const path = await realpath(output)
  const about = await stat(path)
  if (!about.isFile()) throw new Error(`${output}: output expected a regular file, got something else`)
  return { path, mode: about.mode, force }
}

/** The array of a file of one of these types. */
async function readArray(path: string, dtypes: readonly Dtype[]): Promise<Numbers<Float64Array>> {
  return withFile(path, 'r', async file => {
    const header = await readNpyHeader(file, path, dtypes)
    await checkSize(path, header.size * bytesOf(header.dtype), header.start)
    return { data: await readNumbers(file, path, header), dims: header.dims }
  })
}

const flags: readonly Dtype[] = ['|b1', '|u1', '<i4', '<i8', '<f4']

/** The files beside the input, but for the residual, which is read in blocks. */
async function readFiles(given: Given): Promise<Files> {
  const files: { -readonly [name in keyof Files]: Files[name] } = {}
  for (const name of fileOptions) {
    const text = given[name] as string | undefined
    if (text === undefined) continue
    if (name === 'weight' || name === 'bias') {
      const { data, dims } = await readArray(text, ['<f4'])
      files[name] = { data: Float32Array.from(data), dims }
    } else if (name === 'running-mean' || name === 'running-var') {
      files[name] = await readArray(text, ['<f4', '<f8'])
    } else if (name === 'mask') {
      files.mask = await readArray(text, flags)
    } else if (name === 'lengths') {
      files.lengths = /^[\d\s,]+$/.test(text) ? listed(text) : await readArray(text, ['<i4', '<i8'])
    }
  }
  return files
}

function listed(text: string): Numbers<Float64Array> {
  const data = Float64Array.from(readList('lengths', text, 0))
  return { data, dims: [data.length] }
}

/** A bar on a terminal, from the moment on when the work has taken a second. */
async function progressBar(total: number): Promise<{ update(done: number): void; stop(): void }> {
  if (!process.stderr.isTTY) return { update() {}, stop() {} }
  const { default: progress } = await import('cli-progress')
  const bar = new progress.SingleBar({ format: '{bar} {percentage} % | {eta_formatted} left', stream: process.stderr })
  const start = performance.now()
  let shown = false
  return {
    update(done) {
      if (!shown && performance.now() - start < 1000) return
      if (!shown) bar.start(total, done)
      shown = true
      bar.update(done)
    },
    stop() {
      if (shown) bar.stop()
    }
  }
}

/**
 * Puts a finished file in its place. With `force` it replaces what is there; without, nothing may be there, also nothing
 * that appeared meanwhile. `made` has the files of this run that are not what they are to be.
 */
async function place(temporary: string, path: string, force: boolean, made: Set<string>): Promise<void> {
  if (force) return rename(temporary, path)
  try {
    await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw error
      // A file system without links.
      return withFile(path, 'wx', file => {
        made.add(path)
        return writeFile(file, createReadStream(temporary))
      })
    })
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw exists ? new Error(`${path} exists; --force overwrites it`) : error
  }
  made.delete(path)
  await rm(temporary, { force: true })
}

/** Writes a file under a temporary name beside it and puts it in its place when all is there: no run leaves half a file. */
async function writeWhole({ path, mode, force }: Output, write: (file: FileHandle) => Promise<void>): Promise<void> {
  // Random: in containers every process has the number 1. Short: a name has 255 bytes at most.
  const temporary = join(dirname(path), `${basename(path).slice(0, 40)}.${randomUUID()}.tmp`)
  const made = new Set([temporary])
  const interrupted = (signal: NodeJS.Signals) => {
    for (const file of made) rmSync(file, { force: true })
    process.kill(process.pid, signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, interrupted)
  try {
    await withFile(temporary, 'wx', write, mode)
    await place(temporary, path, force, made)
  } catch (error) {
    for (const file of made) await rm(file, { force: true })
    throw error
  } finally {
    for (const signal of signals) process.off(signal, interrupted)
  }
}

/** Reads the input block by block, each with its part of the residual; normalises it and writes it. */
async function applyPlan(
  { leading, run }: Plan,
  dims: readonly number[],
  files: Files,
  read: (into: Float32Array) => Promise<void>,
  readResidual: ((into: Float32Array) => Promise<void>) | undefined,
  write: (from: Float32Array, done: number) => Promise<void>
): Promise<void> {
  const { units, elements } = unitsOf(dims, leading)
  const unitsAtOnce = Math.min(units, Math.max(1, Math.floor(BLOCK_ELEMENTS / elements)))
  const memory = new Float32Array(unitsAtOnce * elements)
  const residualMemory = readResidual && new Float32Array(memory.length)
  const { lengths, mask } = files
  const positions = mask?.dims[1] ?? 0
  // Once at least: also where there are no units, the operation checks its options.
  for (let unit = 0; unit === 0 || unit < units; unit += unitsAtOnce) {
    const n = Math.min(unitsAtOnce, units - unit)
    const data = memory.subarray(0, n * elements)
    const residual = residualMemory?.subarray(0, n * elements)
    await read(data)
    if (residual) await readResidual?.(residual)
    const block: Block = {
      x: { data, dims: leading === 0 ? [...dims] : [n, ...dims.slice(leading)] },
      residual,
      lengths: leading === 0 ? lengths?.data : lengths?.data.subarray(unit, unit + n),
      mask: leading === 0 ? mask?.data : mask?.data.subarray(unit * positions, (unit + n) * positions)
    }
    run(block)
    await write(data, unit + n)
    if (units === 0) return
  }
}

export const apply: Command = {
  help,
  async run(args) {
    const { op, input, output, force, given, read } = readArguments(args)
    const files = await readFiles(given)
    await withFile(input, 'r', async file => {
      const { dims, size, start } = await readNpyHeader(file, input)
      const plan = operations[op].plan(input, dims, read, files)
      await checkSize(input, size * 4, start)
      await withResidual(given.residual as string | undefined, dims, async readResidual => {
        const place = await resolveOutput(output, force)
        const bar = await progressBar(unitsOf(dims, plan.leading).units)
        const work = writeWhole(place, async to => {
          await writeFully(to, npyHeader(dims))
          const readInput = (into: Float32Array) => readElements(file, input, into)
          await applyPlan(plan, dims, files, readInput, readResidual, async (from, done) => {
            await writeElements(to, from)
            bar.update(done)
          })
        })
        await work.finally(() => bar.stop())
      })
    })
    return 0
  }
}

/** Opens the residual, where there is one: a file of the input's shape. */
async function withResidual(
  path: string | undefined,
  dims: readonly number[],
  use: (read: ((into: Float32Array) => Promise<void>) | undefined) => Promise<void>
): Promise<void> {
  if (path === undefined) return use(undefined)
  return withFile(path, 'r', async file => {
    const { dims: own, size, start } = await readNpyHeader(file, path)
    if (shapeText(own) !== shapeText(dims)) {
      throw new Error(`--residual: shape expected ${shapeText(dims)}, got ${shapeText(own)}`)
    }
    await checkSize(path, size * 4, start)
    return use(into => readElements(file, path, into))
  })
}
