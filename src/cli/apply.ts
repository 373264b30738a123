// evenkeel apply: normalises a .npy file, block by block.
import type { FileHandle } from 'node:fs/promises'
import { checkSize, intoFiles, type Part, type Results, readBlocks, resolveOutput, withFile } from './files.js'
import { npyHeader, readElements, readNpyHeader, shapeText, writeElements, writeFully } from './npy.js'
import { allOptions, type Block, operations, type Plan, type Read, readOptions, unitsOf } from './operations.js'
import { type Given, parseOptions, readInput, readPath } from './options.js'
import { type Files, paddingOf, readFiles } from './parameters.js'
import { type Command, UsageError } from './usage.js'

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
                                 (both for files of 3 dimensions; not local-response-norm)
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

function readArguments(args: readonly string[]): Options {
  const { given: all, positionals } = parseOptions(args, allOptions)
  const [op, ...inputs] = positionals
  if (op === undefined || !Object.hasOwn(operations, op)) {
    const got = op === undefined ? 'nothing' : JSON.stringify(op)
    throw new UsageError(`op expected ${Object.keys(operations).join(', ')}, got ${got}`)
  }
  const input = readInput(inputs)
  const { output: path, force, ...given } = all
  const output = readPath('-o out.npy', 'output', path)
  return { op, input, output, force: force === true, given, read: readOptions(op, given) }
}

/** Normalises the input's blocks, each with its part of what belongs to it, and writes them. */
async function applyPlan(
  { leading, run }: Plan,
  dims: readonly number[],
  files: Files,
  blocks: AsyncIterable<Part>,
  readResidual: ((into: Float32Array) => Promise<void>) | undefined,
  write: (from: Float32Array, done: number) => Promise<void>
): Promise<void> {
  let memory: Float32Array | undefined
  // Once at least: also where there are no units, the operation checks its options.
  for await (const { first, count, data } of blocks) {
    if (readResidual) memory ??= new Float32Array(data.length)
    const residual = memory?.subarray(0, data.length)
    if (residual) await readResidual?.(residual)
    const whole = leading === 0
    const block: Block = {
      x: { data, dims: whole ? [...dims] : [count, ...dims.slice(leading)] },
      residual,
      ...(whole ? paddingOf(files, 0, dims[0]) : paddingOf(files, first, count))
    }
    run(block)
    await write(data, first + count)
  }
}

/** What a file goes through. */
export interface Application {
  readonly op: string
  readonly given: Given
  readonly read: Read
  /** What the options name. */
  readonly files: Files
}

/** Normalises an open file of this name; all is checked before `results` is asked for a place. */
export async function applyFile(
  file: FileHandle,
  name: string,
  { op, given, read, files }: Application,
  results: Results
): Promise<void> {
  const { dims, size, start } = await readNpyHeader(file, name)
  const plan = operations[op].plan(name, dims, read, files)
  await checkSize(name, size * 4, start)
  await withResidual(given.residual as string | undefined, dims, async readResidual => {
    const { units, elements } = unitsOf(dims, plan.leading)
    await results(units, async ([to], update) => {
      await writeFully(to, npyHeader(dims))
      const blocks = readBlocks(file, name, units, elements)
      await applyPlan(plan, dims, files, blocks, readResidual, async (from, done) => {
        await writeElements(to, from)
        update(done)
      })
    })
  })
}

export const apply: Command = {
  help,
  async run(args) {
    const { input, output, force, ...options } = readArguments(args)
    const files = await readFiles(options.given)
    const results = intoFiles(async () => [await resolveOutput(output, force)])
    await withFile(input, 'r', file => applyFile(file, input, { ...options, files }, results))
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
