// evenkeel embed: from a .npy file of hidden states to one of embeddings, block by block.
import { codesPerRow, type Precision } from '../call/codes.js'
import {
  type BitOrder,
  type CodeScale,
  EmbeddingPooler,
  EmbeddingStatistics,
  type NormalizeRule,
  type Pooling
} from '../index.js'
import { poolings } from '../ops/pool_embeddings_call.js'
import { bytesOf } from './dtypes.js'
import { checkDtype, checkElements, readBlocks, readDtype, readElementsHeader } from './elements.js'
import { embedHelp } from './embed_help.js'
import { type Results, readText } from './files.js'
import { npyHeader, shapeText, writeElements, writeFully } from './npy.js'
import { rowsOf, unitsOf } from './operations.js'
import {
  checkExcluded,
  checkNeeded,
  type Given,
  knownOptions,
  parseOptions,
  readChoice,
  readInputs,
  readPath,
  readValues,
  type Values,
  withoutCommon
} from './options.js'
import { checkCounts, checkPadded, checkPadding, checkShapes, type Files, paddingOf, readFiles } from './parameters.js'
import type { Work } from './report.js'
import { type RowRange, readRange, regionOf, rowsOption } from './rows.js'
import { runFiles } from './run_files.js'
import type { Source } from './source.js'
import { type Command, UsageError } from './usage.js'

const values = [
  'layer-norm-eps',
  'dimensions',
  'p',
  'eps',
  'rule',
  'normalize-scale',
  'precision',
  'bit-order',
  'dtype'
]
const files = ['lengths', 'mask', 'skip', 'weight', 'bias', 'norm', 'scales']
export const embedOptions = knownOptions([...values, ...files, 'pooling', 'scale'], ['layer-norm', 'no-normalize'])

/** The types of elements, as numpy names them. */
const descriptions: { readonly [precision in Precision]: string } = {
  float32: '<f4',
  float16: '<f2',
  bfloat16: '<u2',
  int8: '|i1',
  uint8: '|u1',
  binary: '|i1',
  ubinary: '|u1'
}

export const scaleNames: readonly string[] = ['unit', 'row', 'sqlite-vec']

/** How files become embeddings. */
export interface Embedding {
  readonly given: Given
  readonly values: Values
  readonly pooling: readonly Pooling[]
  readonly precision: Precision
  /** What --scale names, where it is known already. */
  readonly scale?: CodeScale
  /** The part of the file that is read, and of what belongs to its samples; all of it where there is none. */
  readonly rows?: RowRange | undefined
}

/** Reads the options that say how files become embeddings. */
export function readEmbedding(given: Given): Embedding {
  const read = readValues(values, given)
  const pooling = ((given.pooling as string | undefined) ?? 'mean').split(',')
  for (const kind of pooling) readChoice('pooling', kind, poolings)
  checkExcluded(given, [
    ['lengths', 'mask'],
    ['no-normalize', 'p'],
    ['no-normalize', 'eps'],
    ['no-normalize', 'rule'],
    ['no-normalize', 'normalize-scale']
  ])
  checkNeeded(given, [
    ['weight', 'layer-norm'],
    ['bias', 'layer-norm'],
    ['layer-norm-eps', 'layer-norm']
  ])
  const precision = (read.choice.precision ?? 'float32') as Precision
  checkPrecision(precision, given)
  return { given, values: read, pooling: pooling as Pooling[], precision }
}

/** Which options belong to which precision. */
function checkPrecision(precision: Precision, { scale, scales, 'bit-order': bitOrder }: Given): void {
  const integers = precision === 'int8' || precision === 'uint8'
  if (integers && !scale) throw new UsageError(`--precision ${precision} needs --scale`)
  if (!integers && scale !== undefined) throw new UsageError('--scale needs --precision int8 or uint8')
  if (precision === 'uint8' && scaleNames.includes(scale as string)) {
    throw new UsageError(`--scale expected a file of evenkeel calibrate (precision uint8), got ${scale}`)
  }
  if (scales !== undefined && scale !== 'row') throw new UsageError('--scales needs --scale row')
  if (bitOrder !== undefined && !precision.endsWith('binary')) {
    throw new UsageError('--bit-order needs --precision binary or ubinary')
  }
}

/** What --scale names: a rule, or ranges of a file of so many dimensions. */
async function readScale(text: string | undefined, dimensions: number): Promise<CodeScale | undefined> {
  if (text === undefined || scaleNames.includes(text)) return text as CodeScale | undefined
  const ranges = readRanges(text, await readText(text))
  const [{ length }] = ranges
  if (length !== dimensions) throw new Error(`--scale: dimensions expected ${dimensions}, got ${length}`)
  return { ranges }
}

function readRanges(path: string, text: string): [Float32Array, Float32Array] {
  let json: Parameters<typeof EmbeddingStatistics.fromJSON>[0]
  try {
    json = JSON.parse(text)
  } catch {
    throw new Error(`${path}: format expected JSON of evenkeel calibrate, got something else`)
  }
  try {
    return EmbeddingStatistics.fromJSON(json).ranges
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`)
  }
}

/** How a file becomes embeddings. */
interface Plan {
  readonly pooler: EmbeddingPooler<Precision>
  /** The same of all samples; else files.skip has each its own, if any. */
  readonly skip: number | undefined
}

/** Checks the shapes against each other and reads what does not change from block to block. */
async function planOf(input: string, dims: readonly number[], files: Files, embedding: Embedding): Promise<Plan> {
  const { given, values, pooling, precision } = embedding
  const { number, choice } = values
  const none = pooling.includes('none')
  if (dims.length !== 3 && !(none && dims.length === 2)) {
    const expected = none ? '2 or 3 dimensions' : '3 dimensions (samples, positions, channels)'
    throw new Error(`${input}: shape expected ${expected}, got ${shapeText(dims)}`)
  }
  const channels = dims[dims.length - 1]
  if (channels === 0) throw new Error(`${input}: shape expected at least one channel, got ${shapeText(dims)}`)
  const width = channels * pooling.length
  checkShapes(files, ['weight', 'bias'], [width])
  const skip = /^\s*\d+\s*$/.test((given.skip as string | undefined) ?? '') ? files.skip?.data[0] : undefined
  if (checkPadded(input, dims, files)) {
    checkPadding(files, dims[0], dims[1])
    if (skip === undefined) checkShapes(files, ['skip'], [dims[0]])
    checkCounts('skip', files.skip, Number.MAX_SAFE_INTEGER)
  }
  const layerNorm = given['layer-norm'] === true && {
    weight: files.weight,
    bias: files.bias,
    eps: number['layer-norm-eps']
  }
  const normalize = given['no-normalize'] !== true && {
    p: number.p,
    eps: number.eps,
    rule: choice.rule as NormalizeRule | undefined,
    scale: number['normalize-scale']
  }
  const pooler = new EmbeddingPooler(channels, {
    pooling,
    layerNorm,
    dimensions: number.dimensions,
    normalize,
    precision,
    scale: embedding.scale ?? (await readScale(given.scale as string | undefined, number.dimensions ?? width)),
    bitOrder: choice['bit-order'] as BitOrder | undefined
  })
  return { pooler, skip }
}

/** Embeddings of so many samples, made block by block; `norm` and `scales` where they were asked for. */
interface Made {
  /** How many samples are done. */
  readonly done: number
  readonly data: ArrayBufferView
  readonly norm: Float32Array | undefined
  readonly scales: Float32Array | undefined
}

/** Makes embeddings of an open file; all is checked before `use` is called. */
export async function embedBlocks(
  file: Source,
  name: string,
  files: Files,
  embedding: Embedding,
  use: (
    made: { outer: readonly number[]; dimensions: number; units: number },
    blocks: AsyncIterable<Made>
  ) => Promise<void>
): Promise<Work> {
  const dtype = readDtype(embedding.given)
  const header = await readElementsHeader(file, name, dtype)
  const { type } = header
  const { pooler, skip } = await planOf(name, header.dims, files, embedding)
  await checkElements(name, header)
  checkDtype(name, header, dtype, '; --precision says what is written')
  const { dims, size, first: firstRow, data: source } = regionOf(header, name, embedding.rows)
  const outer = embedding.pooling.includes('none') ? dims.slice(0, -1) : [dims[0]]
  const { units, elements } = unitsOf(dims, 1)
  const { elements: rows } = unitsOf(outer, 1)
  const most = Math.max(elements, rows * pooler.dimensions)
  async function* blocks(): AsyncGenerator<Made> {
    for await (const { first, count, data } of readBlocks(source, name, type, units, elements, most)) {
      const perRow = (wanted: unknown) => (wanted === undefined ? undefined : new Float32Array(count * rows))
      const [norm, scales] = [perRow(embedding.given.norm), perRow(embedding.given.scales)]
      const block = {
        ...paddingOf(files, firstRow + first, count),
        skip: skip ?? files.skip?.data.subarray(firstRow + first, firstRow + first + count),
        norm,
        scales
      }
      const result = pooler.forward({ data, dims: [count, ...dims.slice(1)], type }, block)
      yield { done: first + count, data: result.data as ArrayBufferView, norm, scales }
    }
  }
  await use({ outer, dimensions: pooler.dimensions, units }, blocks())
  const written = bytesOfCodes(embedding.precision, pooler.dimensions) * rowsOf([...outer, 1])
  return { rows: rowsOf(dims), bytes: bytesOf(header.dtype) * size + written }
}

const bytesOfCodes = (precision: Precision, dimensions: number) =>
  codesPerRow(precision, dimensions) * Number(descriptions[precision].slice(2))

/** Writes the embeddings of an open file and, behind them, norms and scales where they are asked for. */
export async function embedFile(
  file: Source,
  name: string,
  files: Files,
  embedding: Embedding,
  results: Results
): Promise<Work> {
  const { precision } = embedding
  return embedBlocks(file, name, files, embedding, ({ outer, dimensions, units }, blocks) =>
    results(units, async ([to, ...beside], update) => {
      await writeFully(to, npyHeader([...outer, codesPerRow(precision, dimensions)], descriptions[precision]))
      for (const handle of beside) await writeFully(handle, npyHeader(outer))
      for await (const { done, data, norm, scales } of blocks) {
        await writeElements(to, data)
        // In the order of the paths.
        const written = [norm, scales].filter(values => values !== undefined)
        for (const [i, values] of written.entries()) await writeElements(beside[i], values)
        update(done)
      }
    })
  )
}

export const embed: Command = {
  help: embedHelp,
  async run(args) {
    const { given: common, positionals } = parseOptions(args, { ...embedOptions, ...rowsOption })
    const inputs = readInputs(positionals)
    const given = withoutCommon(common)
    const embedding = { ...readEmbedding(given), rows: readRange(common.rows as string | undefined) }
    const place = (option: string, name: string) =>
      [name, common[option] === undefined ? undefined : readPath(`${name} out.npy`, name, common[option])] as const
    const outputs = [
      ['output', readPath('-o out.npy, or -o - for standard output', 'output', common.output)] as const,
      place('norm', '--norm'),
      place('scales', '--scales')
    ]
    const files = await readFiles(given)
    await runFiles('embed', inputs, outputs, common, (source, name, results) =>
      embedFile(source, name, files, embedding, results)
    )
    return 0
  }
}
