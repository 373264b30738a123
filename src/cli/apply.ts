// evenkeel apply: normalises a .npy file, block by block.
import { rmSync } from 'node:fs'
import { chmod, type FileHandle, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { LayerNorm, RMSNorm } from '../index.js'
import { npyHeader, readElements, readNpyHeader, writeElements, writeFully } from './npy.js'
import { type Command, parsed, UsageError } from './usage.js'

/** Elements of a block: large enough to keep the kernels busy, small against any memory. */
const BLOCK_ELEMENTS = 2 ** 20

const help = `Usage: evenkeel apply <op> <in.npy> -o <out.npy> [options]

Normalises over the last dimension of a .npy file of float32 (C order, little-endian) and writes another.

Ops:
  layer-norm   (x - mean) / sqrt(variance + eps) * weight + bias
  rms-norm     x / sqrt(mean of squares + eps) * (weight + weight offset)

Options:
  -o, --output <file>           where the result goes
      --weight <file.npy>       one weight for each element of a group
      --bias <file.npy>         one bias for each element of a group (layer-norm)
      --eps <number>            default 1e-5 (layer-norm), 1e-6 (rms-norm)
      --weight-offset <number>  added to every weight (rms-norm), default 0
      --normalized-shape <list> the trailing dimensions of a group, e.g. 3,256; default: the last one
      --force                   overwrite the output file
  -h, --help                    this text
`

interface Options {
  readonly op: 'layer-norm' | 'rms-norm'
  readonly input: string
  readonly output: string
  readonly weight?: string
  readonly bias?: string
  readonly eps?: number
  readonly weightOffset?: number
  readonly normalizedShape?: number[]
  readonly force: boolean
}

function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parsed(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        output: { type: 'string', short: 'o' },
        weight: { type: 'string' },
        bias: { type: 'string' },
        eps: { type: 'string' },
        'weight-offset': { type: 'string' },
        'normalized-shape': { type: 'string' },
        force: { type: 'boolean', default: false }
      }
    })
  )
  const [op, input, ...more] = positionals
  if (op !== 'layer-norm' && op !== 'rms-norm') {
    throw new UsageError(`op expected layer-norm or rms-norm, got ${op === undefined ? 'nothing' : JSON.stringify(op)}`)
  }
  if (input === undefined || more.length > 0)
    throw new UsageError(`input expected one file, got ${positionals.length - 1}`)
  if (!values.output) throw new UsageError('output expected a file (-o out.npy), got nothing')
  if (op === 'rms-norm' && values.bias !== undefined) throw new UsageError('rms-norm has no --bias')
  if (op === 'layer-norm' && values['weight-offset'] !== undefined)
    throw new UsageError('layer-norm has no --weight-offset')
  const eps = readNumber('--eps', values.eps)
  if (eps !== undefined && eps < 0) throw new UsageError(`--eps expected a number >= 0, got ${eps}`)
  const weightOffset = readNumber('--weight-offset', values['weight-offset'])
  if (weightOffset !== undefined && values.weight === undefined) throw new UsageError('--weight-offset needs --weight')
  const normalizedShape = values['normalized-shape']
    ?.split(',')
    .map(part => readNumber('--normalized-shape', part) ?? 0)
  if (normalizedShape?.some(dim => !Number.isSafeInteger(dim) || dim < 1)) {
    throw new UsageError(`--normalized-shape expected integers >= 1, got ${values['normalized-shape']}`)
  }
  return {
    op,
    input,
    output: values.output,
    weight: values.weight,
    bias: values.bias,
    eps,
    weightOffset,
    normalizedShape,
    force: values.force
  }
}

function readNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value)) throw new UsageError(`${option} expected a number, got ${JSON.stringify(text)}`)
  return value
}

async function withFile<Result>(
  path: string,
  flags: string,
  use: (file: FileHandle) => Promise<Result>
): Promise<Result> {
  const file = await open(path, flags)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}

/** Throws where a file is too short for its header. What is no regular file (a pipe) shows it when it is read. */
async function checkSize(path: string, size: number, start: number): Promise<void> {
  const about = await stat(path)
  if (about.isFile() && about.size - start < size * 4) {
    throw new Error(`${path}: data expected ${size * 4} bytes, got ${about.size - start}`)
  }
}

/**
 * Where the output goes: a new file, or with `force` the regular file that is there (at the end of links), whose mode the
 * new one gets.
 */
async function resolveOutput(output: string, force: boolean): Promise<{ path: string; mode: number | undefined }> {
  const there = await lstat(output).catch(() => undefined)
  if (!there) return { path: output, mode: undefined }
  if (!force) throw new Error(`${output} exists; --force overwrites it`)
  const path = await realpath(output)
  const about = await stat(path)
  if (!about.isFile()) throw new Error(`${output}: output expected a regular file, got something else`)
  return { path, mode: about.mode }
}

async function readVector(path: string | undefined): Promise<Float32Array | undefined> {
  if (path === undefined) return undefined
  return withFile(path, 'r', async file => {
    const { size, start } = await readNpyHeader(file, path)
    await checkSize(path, size, start)
    const elements = new Float32Array(size)
    await readElements(file, path, elements)
    return elements
  })
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

/** Writes a file under a temporary name beside it and renames it when all is there: no run leaves half a file. */
async function writeWhole(
  path: string,
  mode: number | undefined,
  write: (file: FileHandle) => Promise<void>
): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  const interrupted = (signal: NodeJS.Signals) => {
    rmSync(temporary, { force: true })
    process.kill(process.pid, signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, interrupted)
  try {
    await withFile(temporary, 'wx', write)
    if (mode !== undefined) await chmod(temporary, mode)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    for (const signal of signals) process.off(signal, interrupted)
  }
}

export const apply: Command = {
  help,
  async run(args) {
    const options = readOptions(args)
    const { input, output, force } = options
    const weight = await readVector(options.weight)
    const bias = await readVector(options.bias)
    await withFile(input, 'r', async file => {
      const { dims, size, start } = await readNpyHeader(file, input)
      const normalizedShape = options.normalizedShape ?? dims.slice(-1)
      if (normalizedShape.length === 0 || normalizedShape.includes(0)) {
        throw new Error(`${input}: shape expected a last dimension >= 1, got (${dims.join(', ')})`)
      }
      const trailing = dims.slice(dims.length - normalizedShape.length)
      if (normalizedShape.length > dims.length || trailing.some((dim, i) => dim !== normalizedShape[i])) {
        throw new Error(`${input}: last dims expected ${normalizedShape.join(', ')}, got shape (${dims.join(', ')})`)
      }
      const { eps, weightOffset } = options
      const layer =
        options.op === 'layer-norm'
          ? new LayerNorm(normalizedShape, { weight, bias, eps })
          : new RMSNorm(normalizedShape, { weight, eps, weightOffset })
      await checkSize(input, size, start)
      const { path, mode } = await resolveOutput(output, force)

      const cols = normalizedShape.reduce((product, dim) => product * dim, 1)
      const rows = size / cols
      const rowsAtOnce = Math.min(rows, Math.max(1, Math.floor(BLOCK_ELEMENTS / cols)))
      const block = new Float32Array(rowsAtOnce * cols)
      const bar = await progressBar(rows)
      const work = writeWhole(path, mode, async to => {
        await writeFully(to, npyHeader(dims))
        for (let row = 0; row < rows; row += rowsAtOnce) {
          const part = block.subarray(0, Math.min(rowsAtOnce, rows - row) * cols)
          await readElements(file, input, part)
          layer.forward(part, { out: part })
          await writeElements(to, part)
          bar.update(row + part.length / cols)
        }
      })
      await work.finally(() => bar.stop())
    })
    return 0
  }
}
