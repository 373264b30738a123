// Why sequence models do not use BatchNorm, in numbers: small batches, padding, sequences longer than any in training,
// and devices that must synchronise. Each beside LayerNorm and RMSNorm, which have none of these problems.
import { Worker } from 'node:worker_threads'
import { firstDifference, random } from '../dist/esm/cases/data.js'
import { BatchNorm, BatchStatistics, backend, batchNorm, layerNorm, rmsNorm } from '../dist/esm/index.js'
import { features, file, positions, readHiddenStates, relativeDifference, sequences, table } from './data.ts'

const x = await readHiddenStates()
const samples = sequences * positions
const next = random(7)
const sci = (value: number) => (value === 0 ? '0' : value.toExponential(1))
const percent = (value: number) => `${(100 * value).toFixed(0)} %`

console.log(`Data: ${file}, hidden states of a GRU (backend ${backend}).`)

/** Hidden states by their numbers, as a matrix. */
function pick(indices: readonly number[]): { data: Float32Array; dims: number[] } {
  const data = new Float32Array(indices.length * features)
  for (const [i, index] of indices.entries()) {
    data.set(x.subarray(index * features, (index + 1) * features), i * features)
  }
  return { data, dims: [indices.length, features] }
}

/** So many different numbers below n. */
function draw(count: number, n: number): number[] {
  const numbers = new Set<number>()
  while (numbers.size < count) numbers.add(Math.floor(next() * n))
  return [...numbers]
}

const rootMeanSquare = (values: readonly number[]) =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)

smallBatches()
padding()
longSequences()
await devices()

// 1. The statistics of a small batch are not those of the population; and a sample's output depends on who else is there.
function smallBatches(): void {
  const trials = 200
  const mean = new Float64Array(features)
  const rstd = new Float64Array(features)
  batchNorm({ data: x, dims: [samples, features] }, { training: true, mean, rstd })
  const own = Array.from(x.subarray(0, features))
  const sampleZero = x.subarray(0, features)
  const layer = layerNorm(sampleZero, features)
  const rms = rmsNorm(sampleZero, features)

  const rows = [2, 4, 8, 32, 128, samples].map(size => {
    const meanErrors: number[] = []
    const stdErrors: number[] = []
    const outputs: Float32Array[] = []
    let same = 0
    for (let trial = 0; trial < trials; trial++) {
      // Sample 0, and others at random.
      const batch = pick([0, ...draw(size - 1, samples - 1).map(index => index + 1)])
      const batchMean = new Float64Array(features)
      const batchRstd = new Float64Array(features)
      const y = batchNorm(batch, { training: true, mean: batchMean, rstd: batchRstd })
      outputs.push(y.data.slice(0, features))
      const [batchLayer, batchRms] = [layerNorm(batch, features).data, rmsNorm(batch, features).data]
      const unmoved =
        firstDifference(batchLayer.subarray(0, features), layer) < 0 &&
        firstDifference(batchRms.subarray(0, features), rms) < 0
      if (unmoved) same++
      batchMean.forEach((value, c) => void meanErrors.push((value - mean[c]) * rstd[c]))
      batchRstd.forEach((value, c) => void stdErrors.push(rstd[c] / value - 1))
    }
    // How far sample 0's output moves from batch to batch: the standard deviation of each element, all together.
    const movement = own.map((_, c) => {
      const average = outputs.reduce((sum, y) => sum + y[c], 0) / trials
      return rootMeanSquare(outputs.map(y => y[c] - average))
    })
    return [
      String(size),
      rootMeanSquare(meanErrors).toFixed(2),
      rootMeanSquare(stdErrors).toFixed(2),
      rootMeanSquare(movement).toFixed(2),
      `${trials - same} of ${trials}`
    ]
  })
  table(
    `1. Small batches: ${trials} random batches with sample 0 in each, against all ${samples} samples.\n   In standard deviations of a feature, root mean square over features and batches:`,
    [
      'batch size',
      'mean off by',
      'std off by',
      'BatchNorm: sample 0 moves by',
      'LayerNorm, RMSNorm: batches that move it'
    ],
    rows
  )
  try {
    batchNorm(pick([0]), { training: true })
  } catch (error) {
    console.log(`  A batch of 1: ${(error as Error).message}`)
  }
}

// 2. Padding counts as data, unless it is left out.
function padding(): void {
  const lengths = [64, 48, 40, 32, 24, 16, 12, 8]
  const padded = { data: x.slice(), dims: [sequences, positions, features] }
  lengths.forEach((length, n) => {
    padded.data.fill(0, (n * positions + length) * features, (n + 1) * positions * features)
  })
  const real = lengths.flatMap((length, n) => Array.from({ length }, (_, p) => n * positions + p))
  const only = pick(real)
  const atReal = (y: { data: Float32Array }) => {
    const out = new Float32Array(only.data.length)
    for (const [i, index] of real.entries()) {
      out.set(y.data.subarray(index * features, (index + 1) * features), i * features)
    }
    return out
  }
  const options = { training: true, layout: 'channels-last' } as const
  const mask = lengths.flatMap(length => Array.from({ length: positions }, (_, p) => p < length))
  const paddings = [{}, { lengths }, { mask }]
  const batchReference = batchNorm({ data: only.data, dims: [1, real.length, features] }, options).data
  const compare = (y: Float32Array, reference: Float32Array) =>
    firstDifference(y, reference) < 0 ? 'the same bits' : `up to ${percent(relativeDifference(reference, y))} off`
  table(
    `2. Padding: sequences of ${lengths.join(', ')} padded to ${positions} (${percent(1 - real.length / samples)} is padding).\n   Outputs at real positions against those of the sequences without padding, relative to the largest:`,
    ['', 'padding normalised too', 'with lengths', 'with mask'],
    [
      [
        'BatchNorm',
        ...paddings.map(more => compare(atReal(batchNorm(padded, { ...options, ...more })), batchReference))
      ],
      [
        'LayerNorm',
        ...paddings.map(more => compare(atReal(layerNorm(padded, features, more)), layerNorm(only, features).data))
      ],
      [
        'RMSNorm',
        ...paddings.map(more => compare(atReal(rmsNorm(padded, features, more)), rmsNorm(only, features).data))
      ]
    ]
  )
}

// 3. Statistics per position end where the training sequences did; statistics over positions change along the sequence.
function longSequences(): void {
  const seen = [10, 20]
  const longer = 30
  // Training: half of the sequences end after 10 positions, half after 20, padded; a channel is a position's feature.
  const longest = Math.max(...seen)
  const train = new Float32Array(sequences * longest * features)
  for (let n = 0; n < sequences; n++) {
    const start = n * positions * features
    train.set(x.subarray(start, start + seen[n % 2] * features), n * longest * features)
  }
  const layer = new BatchNorm(longest * features, { momentum: null, unbiased: false })
  layer.forward({ data: train, dims: [sequences, longest * features] })
  layer.eval()
  const upTo = (length: number) => {
    const data = new Float32Array(sequences * length * features)
    for (let n = 0; n < sequences; n++) {
      const start = n * positions * features
      data.set(x.subarray(start, start + length * features), n * length * features)
    }
    return data
  }

  console.log(`\n3. Longer sequences: trained on lengths ${seen.join(' and ')}, then one of ${longer}`)
  try {
    layer.forward({ data: upTo(longer), dims: [sequences, longer * features] })
  } catch (error) {
    console.log(`  BatchNorm with statistics for each position: ${(error as Error).message}`)
  }
  // The standard deviation that normalised values should have is 1.
  const y = layer.forward({ data: upTo(longest), dims: [sequences, longest * features] }).data
  const spread = (from: number, to: number) => {
    const values: number[] = []
    for (let n = 0; n < sequences; n++) {
      values.push(...y.subarray((n * longest + from) * features, (n * longest + to) * features))
    }
    return rootMeanSquare(values).toFixed(2)
  }
  console.log('  Its outputs on sequences of 20, root mean square (1 is right):')
  console.log(`    positions 1 to 10, seen in all training sequences   ${spread(0, 10)}`)
  console.log(`    positions 11 to 20, where half of them were padding ${spread(10, 20)}`)

  // One statistic for all positions: it fits those it was taken from.
  const common = new BatchNorm(features, { momentum: null, unbiased: false })
  common.forward({ data: upTo(longest), dims: [sequences * longest, features] })
  common.eval()
  const whole = { data: x, dims: [samples, features] }
  const batch = common.forward(whole).data
  const rows = [1, 2, 5, 20, 30, 64].map(position => {
    const at = (y: Float32Array) => {
      const vectors = Array.from({ length: sequences }, (_, n) => {
        const start = (n * positions + position - 1) * features
        return [...y.subarray(start, start + features)]
      })
      return rootMeanSquare(vectors.flat()).toFixed(3)
    }
    return [String(position), at(batch), at(layerNorm(whole, features).data), at(rmsNorm(whole, features).data)]
  })
  table(
    '   One statistic over positions 1 to 20: root mean square of the outputs at each position',
    ['position', 'BatchNorm', 'LayerNorm', 'RMSNorm'],
    rows
  )
  const short = layerNorm({ data: upTo(longest), dims: [sequences, longest, features] }, features).data
  const long = layerNorm({ data: upTo(longer), dims: [sequences, longer, features] }, features).data
  const same = firstDifference(short.subarray(0, longest * features), long.subarray(0, longest * features)) < 0
  console.log(`  LayerNorm: positions 1 to 20 of a sequence of 30 and of 20: ${same ? 'the same bits' : 'DIFFERENT'}`)
}

// 4. Parts of a batch on several devices: each alone is wrong, merged statistics are right, and cost a message.
async function devices(): Promise<void> {
  const workers = 4
  const whole = { data: x, dims: [samples, features] }
  const rows = samples / workers
  const shards = Array.from({ length: workers }, (_, i) => ({
    data: x.slice(i * rows * features, (i + 1) * rows * features),
    dims: [rows, features]
  }))
  const messages = await Promise.all(
    shards.map(
      shard =>
        new Promise<Uint8Array>((resolve, reject) => {
          const worker = new Worker(new URL('shard.mjs', import.meta.url), { workerData: shard })
          worker.once('message', resolve)
          worker.once('error', reject)
        })
    )
  )
  const statistics = BatchStatistics.merge(...messages.map(BatchStatistics.fromBytes))
  const reference = batchNorm(whole, { training: true }).data
  const joined = (outputs: { data: Float32Array }[]) => {
    const y = new Float32Array(x.length)
    for (const [i, output] of outputs.entries()) y.set(output.data, i * rows * features)
    return y
  }
  const alone = joined(shards.map(shard => batchNorm(shard, { training: true })))
  const merged = joined(shards.map(shard => batchNorm(shard, { training: true, statistics })))
  const layerWhole = layerNorm(whole, features).data
  const layerShards = joined(shards.map(shard => layerNorm(shard, features)))
  const rmsWhole = rmsNorm(whole, features).data
  const rmsShards = joined(shards.map(shard => rmsNorm(shard, features)))
  table(
    `4. Devices: ${samples} samples on ${workers} workers; outputs against those of the whole batch on one:`,
    ['', 'largest difference, relative', 'bytes each must send'],
    [
      ['BatchNorm, each worker alone', sci(relativeDifference(reference, alone)), '0'],
      ['BatchNorm, statistics merged', sci(relativeDifference(reference, merged)), String(messages[0].length)],
      ['LayerNorm, each worker alone', sci(relativeDifference(layerWhole, layerShards)), '0'],
      ['RMSNorm, each worker alone', sci(relativeDifference(rmsWhole, rmsShards)), '0']
    ]
  )
}
