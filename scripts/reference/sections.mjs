// What stands where in docs/api.md: a list of names for each subject. An export that is in no section and is no type is an error.
export const sections = [
  {
    title: 'Rows',
    text: 'A group, what is normalised together, is a row: the trailing dimensions of an array or a tensor; of a tensor also other axes.',
    names: [
      ['layerNorm', 'layerNormBackward', 'LayerNorm'],
      ['rmsNorm', 'rmsNormBackward', 'RMSNorm'],
      ['normalize', 'normalizeBackward', 'Normalize'],
      ['view']
    ]
  },
  {
    title: 'Channels',
    text: "x is a tensor [N, C, ...] of N samples and C channels, or [N, ..., C] with `layout: 'channels-last'`. What the other dimensions number are positions.",
    names: [
      ['batchNorm', 'batchNormBackward', 'BatchNorm'],
      ['batchStatistics', 'BatchStatistics'],
      ['groupNorm', 'groupNormBackward', 'GroupNorm'],
      ['instanceNorm', 'instanceNormBackward', 'InstanceNorm'],
      ['localResponseNorm']
    ]
  },
  {
    title: 'Embeddings',
    text: 'From the hidden states of a model to what a database stores: [embeddings](embeddings.md) shows it with five databases.',
    names: [
      ['poolEmbeddings', 'EmbeddingPooler'],
      ['quantizeEmbeddings', 'dequantizeEmbeddings'],
      ['calibrateEmbeddings', 'EmbeddingStatistics']
    ]
  },
  {
    title: 'Streams',
    text: "`import { ... } from 'evenkeel/stream'`, for Node.js alone: rows on their way through a `node:stream`, for a service that pipes them.",
    names: [['layerNormStream', 'rmsNormStream', 'normalizeStream']]
  },
  {
    title: 'Threads and backends',
    text: 'More on threads and `forwardAsync`: [threads](threads.md).',
    names: [
      ['setNumThreads', 'getNumThreads'],
      ['backend', 'backends', 'backendInfo']
    ]
  }
]

/** Types of options that stand once on the page, where many calls lead. */
export const shared = ['AsyncOptions', 'LoadStateOptions', 'PaddingOptions', 'RowStreamOptions']

/** The order of options: what comes first and what last; the others stay between, as they are declared. */
export const first =
  'dx dweight dbias dresidual dscale pooling layerNorm dimensions normalize precision weight bias weightOffset partial p eps rule scale bitOrder runningMean runningVar'.split(
    ' '
  )
export const last = 'mean rstd norm layout lengths mask out'.split(' ')
