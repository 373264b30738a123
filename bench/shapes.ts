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

const rowShapes = [
  { dims: [1, 768], name: 'one embedding', quick: true },
  { dims: [8, 768], name: 'a small batch' },
  { dims: [32, 768], name: 'one short text' },
  { dims: [256, 768], name: 'one text', quick: true },
  { dims: [1024, 768], name: 'a batch, in the last cache' },
  { dims: [8192, 768], name: 'a large batch, from memory', quick: true },
  { dims: [32768, 768], name: 'a data set, from memory' },
  { dims: [1, 128], name: 'one attention head', quick: true },
  { dims: [512, 4096], name: 'a prompt of a 7B model' }
]

export const shapes: readonly BenchShape[] = [
  ...rowShapes.map(shape => ({ op: 'layerNorm' as const, ...shape })),
  { op: 'layerNormChannels', dims: [8, 256, 28, 28], name: 'feature maps of a ConvNeXt', quick: true },
  ...rowShapes.map(shape => ({ op: 'rmsNorm' as const, ...shape })),
  { op: 'batchNorm', dims: [32, 64, 56, 56], name: 'first stage of a ResNet, from memory', quick: true },
  { op: 'batchNorm', dims: [32, 56, 56, 64], channelsLast: true, name: 'the same, channels last' },
  { op: 'batchNorm', dims: [1024, 768], name: 'a dense layer', quick: true },
  { op: 'batchNormTraining', dims: [32, 64, 28, 28], name: 'feature maps', quick: true },
  { op: 'batchNormTraining', dims: [32, 28, 28, 64], channelsLast: true, name: 'the same, channels last' },
  { op: 'batchNormTraining', dims: [1024, 768], name: 'a dense layer', quick: true },
  { op: 'groupNorm', dims: [8, 256, 28, 28], name: '32 groups', quick: true },
  { op: 'groupNorm', dims: [8, 28, 28, 256], channelsLast: true, name: '32 groups, channels last' },
  { op: 'instanceNorm', dims: [8, 256, 28, 28], name: 'feature maps', quick: true },
  { op: 'instanceNorm', dims: [8, 28, 28, 256], channelsLast: true, name: 'the same, channels last' },
  { op: 'normalize', dims: [1024, 384], name: 'embeddings of a search index', quick: true },
  { op: 'normalize', dims: [1, 1536], name: 'one query', quick: true },
  { op: 'localResponseNorm', dims: [8, 64, 55, 55], name: 'first layer of AlexNet, window of 5', quick: true },
  { op: 'localResponseNorm', dims: [8, 55, 55, 64], channelsLast: true, name: 'the same, channels last' }
]

/** Where rmsNorm and pRMSNorm are held against layerNorm. */
export const variantShapes: readonly (Omit<BenchShape, 'op'> & { dims: [number, number] })[] = [
  { dims: [256, 768], name: 'one text', quick: true },
  { dims: [8192, 768], name: 'a large batch, from memory' },
  { dims: [512, 4096], name: 'a prompt of a 7B model' }
]
