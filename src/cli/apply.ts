// evenkeel apply: normalises a .npy file, block by block.
import { applyHelp, helpOf } from './apply_help.js'
import { checkSize, type Part, type Results, readBlocks, withInput } from './files.js'
import { npyHeader, readElements, readNpyHeader, shapeText, writeElements, writeFully } from './npy.js'
import { allOptions, type Block, operations, type Plan, type Read, readOptions, rowsOf, unitsOf } from './operations.js'
import { type Given, parseOptions, readInputs, readPath, withoutCommon } from './options.js'
import { type Files, paddingOf, readFiles } from './parameters.js'
import type { Work } from './report.js'
import { type Region, type RowRange, readRange, regionOf, rowsOption } from './rows.js'
import { runFiles } from './run_files.js'
import type { Source } from './source.js'
import { type Command, wrongWord } from './usage.js'

interface Arguments {
  readonly inputs: readonly string[]
  readonly output: string
  readonly common: Given
  readonly application: Omit<Application, 'files'>
}

function readArguments(args: readonly string[]): Arguments {
  const { given: common, positionals } = parseOptions(args, { ...allOptions, ...rowsOption })
  const [op, ...rest] = positionals
  if (op === undefined || !Object.hasOwn(operations, op)) {
    throw wrongWord('op', Object.keys(operations), op)
  }
  const inputs = readInputs(rest)
  const given = withoutCommon(common)
  const read = readOptions(op, given)
  const output = readPath('-o out.npy, or -o - for standard output', 'output', common.output)
  return {
    inputs,
    output,
    common,
    application: { op, given, read, rows: readRange(common.rows as string | undefined) }
  }
}

/** Normalises the input's blocks, each with its part of what belongs to it, and writes them. */
async function applyPlan(
  { leading, run }: Plan,
  { dims, first: firstRow }: Region,
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
      ...(whole ? paddingOf(files, firstRow, dims[0]) : paddingOf(files, firstRow + first, count))
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
  /** The part of the file that is read, and of what belongs to its rows; all of it where there is none. */
  readonly rows?: RowRange | undefined
}

/** Normalises an open file of this name; all is checked before `results` is asked for a place. */
export async function applyFile(
  file: Source,
  name: string,
  { op, given, read, files, rows }: Application,
  results: Results
): Promise<Work> {
  const header = await readNpyHeader(file, name)
  const plan = operations[op].plan(name, header.dims, read, files)
  await checkSize(name, header.size * 4, header.start)
  const region = regionOf(header, name, rows)
  const { dims, size, data } = region
  const residual = given.residual as string | undefined
  await withResidual(residual, header.dims, rows, async readResidual => {
    const { units, elements } = unitsOf(dims, plan.leading)
    await results(units, async ([to], update) => {
      await writeFully(to, npyHeader(dims))
      const blocks = readBlocks(data, name, units, elements)
      await applyPlan(plan, region, files, blocks, readResidual, async (from, done) => {
        await writeElements(to, from)
        update(done)
      })
    })
  })
  return { rows: rowsOf(dims), bytes: 4 * size * (residual === undefined ? 2 : 3) }
}

const operationIn = (args: readonly string[]) => args.find(arg => Object.hasOwn(operations, arg))

export const apply: Command = {
  help: applyHelp,
  helpFor: args => helpOf(operationIn(args)),
  topicOf: operationIn,
  async run(args) {
    const { inputs, output, common, application } = readArguments(args)
    const files = await readFiles(application.given)
    await runFiles('apply', inputs, [['output', output]], common, (source, name, results) =>
      applyFile(source, name, { ...application, files }, results)
    )
    return 0
  }
}

/** Opens the residual, where there is one: a file of the input's shape. */
async function withResidual(
  path: string | undefined,
  dims: readonly number[],
  rows: RowRange | undefined,
  use: (read: ((into: Float32Array) => Promise<void>) | undefined) => Promise<void>
): Promise<void> {
  if (path === undefined) return use(undefined)
  return withInput(path, async (file, name) => {
    const header = await readNpyHeader(file, name)
    if (shapeText(header.dims) !== shapeText(dims)) {
      throw new Error(`--residual: shape expected ${shapeText(dims)}, got ${shapeText(header.dims)}`)
    }
    await checkSize(name, header.size * 4, header.start)
    const { data } = regionOf(header, name, rows)
    return use(into => readElements(data, name, into))
  })
}
