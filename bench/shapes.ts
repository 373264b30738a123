// The calls that are timed, each with its reason.
import type { Op } from './problem.ts'

export interface BenchShape {
  readonly op: Op
  /** [rows, features], [N, C, H, W], or [N, H, W, C] where `channelsLast`. */
  readonly dims: readonly number[]
  readonly channelsLast?: boolean
  /** What has this shape. */
  readonly name: string
  /** Part of --quick. */
  readonly quick?: boolean
}

/** The width of the rows in most comparisons. */
export const COLS = 768

/** How many rows of it. */
const rowCounts = [
  { rows: 1, name: 'one embedding', quick: true },
  { rows: 8, name: 'a small batch' },
  { rows: 32, name: 'one short text', quick: true },
  { rows: 256, name: 'one text', quick: true },
  { rows: 1024, name: 'a batch', quick: true },
  { rows: 8192, name: 'a large batch', quick: true },
  { rows: 32768, name: 'a data set' }
]

const rowShapes = [
  ...rowCounts.map(({ rows, ...shape }) => ({ dims: [rows, COLS], ...shape })),
  { dims: [4096, 64], name: 'heads of 64', quick: true },
  { dims: [4096, 128], name: 'heads of 128', quick: true },
  { dims: [512, 4096], name: 'a prompt of a 7B model' }
]

export const shapes: readonly BenchShape[] = [
  ...rowShapes.map(shape => ({ op: 'layerNorm' as const, ...shape })),
  { op: 'layerNormChannels', dims: [8, 256, 28, 28], name: 'feature maps of a ConvNeXt', quick: true },
  ...rowShapes.map(shape => ({ op: 'rmsNorm' as const, ...shape, quick: shape.quick && shape.dims[1] === COLS })),
  { op: 'batchNorm', dims: [32, 64, 56, 56], name: 'first stage of a ResNet, from memory', quick: true },
  { op: 'batchNorm', dims: [32, 56, 56, 64], channelsLast: true, name: 'the same, channels last' },
  { op: 'batchNorm', dims: [1024, 768], name: 'a dense layer' },
  { op: 'batchNormTraining', dims: [32, 64, 28, 28], name: 'feature maps', quick: true },
  { op: 'batchNormTraining', dims: [32, 28, 28, 64], channelsLast: true, name: 'the same, channels last' },
  { op: 'batchNormTraining', dims: [1024, 768], name: 'a dense layer' },
  { op: 'groupNorm', dims: [8, 256, 28, 28], name: '32 groups', quick: true },
  { op: 'groupNorm', dims: [8, 28, 28, 256], channelsLast: true, name: '32 groups, channels last' },
  { op: 'instanceNorm', dims: [8, 256, 28, 28], name: 'feature maps', quick: true },
  { op: 'instanceNorm', dims: [8, 28, 28, 256], channelsLast: true, name: 'the same, channels last' },
  { op: 'instanceNorm', dims: [1, 16, 256, 256], name: 'large pictures' },
  { op: 'normalize', dims: [1024, 384], name: 'embeddings of a search index', quick: true },
  { op: 'normalize', dims: [1, 1536], name: 'one query' },
  { op: 'localResponseNorm', dims: [8, 64, 55, 55], name: 'first layer of AlexNet, window of 5', quick: true },
  { op: 'localResponseNorm', dims: [8, 55, 55, 64], channelsLast: true, name: 'the same, channels last' }
]

/** The widths of one row whose call is timed. */
export const widths: readonly { cols: number; quick?: boolean }[] = [
  { cols: 16, quick: true },
  { cols: 32 },
  { cols: 64 },
  { cols: 128, quick: true },
  { cols: 256, quick: true },
  { cols: 512 },
  { cols: 768 },
  { cols: 1024, quick: true },
  { cols: 2048 },
  { cols: 4096, quick: true }
]

/** How many rows several threads get; rmsNorm those from 1,024 on. */
export const threadRows: readonly { rows: number; quick?: boolean }[] = [
  { rows: 256 },
  { rows: 1024, quick: true },
  { rows: 8192, quick: true },
  { rows: 32768 }
]

/** Where rmsNorm and pRMSNorm are held against layerNorm. */
export const variantShapes: readonly (Omit<BenchShape, 'op'> & { dims: [number, number] })[] = [
  { dims: [256, 768], name: 'one text', quick: true },
  { dims: [8192, 768], name: 'a large batch' },
  { dims: [512, 4096], name: 'a prompt of a 7B model' }
]
