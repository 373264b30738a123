// evenkeel apply: normalises a .npy file, block by block.
import type { Dtype as Bits } from '../call/elements.js'
import { bytesOfType, type ElementType } from '../kernels/elements.js'
import { applyHelp, helpOf } from './apply_help.js'
import { bytesOf, type Dtype, descriptions } from './dtypes.js'
import {
  checkDtype,
  checkElements,
  type ElementsHeader,
  type FileArray,
  newArray,
  type Part,
  readBlocks,
  readDtype,
  readElementsHeader
} from './elements.js'
import { type Results, withInput } from './files.js'
import { npyHeader, readElements, shapeText, writeElements, writeFully } from './npy.js'
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

/** The types of the elements that are read and written. */
interface Types {
  readonly from: ElementType
  readonly to: ElementType
}

/** Normalises the input's blocks, each with its part of what belongs to it, and writes them. */
async function applyPlan(
  { leading, run }: Plan,
  { dims, first: firstRow }: Region,
  { from, to }: Types,
  files: Files,
  blocks: AsyncIterable<Part>,
  readResidual: ((into: FileArray) => Promise<void>) | undefined,
  write: (from: FileArray, done: number) => Promise<void>
): Promise<void> {
  let added: FileArray | undefined
  let written: FileArray | undefined
  // Once at least: also where there are no units, the operation checks its options.
  for await (const { first, count, data } of blocks) {
    if (readResidual) added ??= newArray(from, data.length)
    if (to !== from) written ??= newArray(to, data.length)
    const residual = added?.subarray(0, data.length)
    if (residual) await readResidual?.(residual)
    const y = written?.subarray(0, data.length) ?? data
    const whole = leading === 0
    const shape = whole ? [...dims] : [count, ...dims.slice(leading)]
    const block: Block = {
      x: { data, dims: shape, type: from },
      out: { data: y, dims: shape, type: to },
      residual: residual && { data: residual, dims: shape, type: from },
      ...(whole ? paddingOf(files, firstRow, dims[0]) : paddingOf(files, firstRow + first, count))
    }
    run(block)
    await write(y, first + count)
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
  const bits = readDtype(given)
  const header = await readElementsHeader(file, name, bits)
  const plan = operations[op].plan(name, header.dims, read, files)
  await checkElements(name, header)
  checkDtype(name, header, bits, '; --out-dtype says what is written')
  const region = regionOf(header, name, rows)
  const { dims, size, data } = region
  const residual = given.residual as string | undefined
  const wanted = read.choice['out-dtype'] as ElementType | undefined
  const types: Types = { from: header.type, to: wanted ?? header.type }
  const descr: Dtype = wanted === undefined ? header.dtype : descriptions[wanted]
  await withResidual(residual, header, bits, rows, async readResidual => {
    const { units, elements } = unitsOf(dims, plan.leading)
    await results(units, async ([to], update) => {
      await writeFully(to, npyHeader(dims, descr))
      const blocks = readBlocks(data, name, types.from, units, elements)
      await applyPlan(plan, region, types, files, blocks, readResidual, async (from, done) => {
        await writeElements(to, from)
        update(done)
      })
    })
  })
  const perElement = bytesOf(header.dtype) * (residual === undefined ? 1 : 2) + bytesOfType(types.to)
  return { rows: rowsOf(dims), bytes: size * perElement }
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

/** Opens the residual, where there is one: a file of the input's shape and type. */
async function withResidual(
  path: string | undefined,
  { dims, type }: ElementsHeader,
  dtype: Bits | undefined,
  rows: RowRange | undefined,
  use: (read: ((into: FileArray) => Promise<void>) | undefined) => Promise<void>
): Promise<void> {
  if (path === undefined) return use(undefined)
  return withInput(path, async (file, name) => {
    const header = await readElementsHeader(file, name, dtype)
    if (header.type !== type) {
      throw new Error(`--residual: dtype expected ${type}, that of the input, got ${header.type}`)
    }
    if (shapeText(header.dims) !== shapeText(dims)) {
      throw new Error(`--residual: shape expected ${shapeText(dims)}, got ${shapeText(header.dims)}`)
    }
    await checkElements(name, header)
    const { data } = regionOf(header, name, rows)
    return use(into => readElements(data, name, into))
  })
}
