// npm start: the main job on real data. The last hidden states of a pre-trained sentence encoder become embeddings in one
// call: the mean over the tokens, L2, the precision that a vector database stores. Shows which sentences are found next to
// each other, what fewer dimensions and bits lose, what LayerNorm and RMSNorm do to hidden states, how fast each
// implementation is, and that all give the same bits. Writes results as .npy files.
import os from 'node:os'
import * as evenkeel from 'evenkeel'
import { backend, backendInfo, calibrateEmbeddings, dequantizeEmbeddings, normalize, poolEmbeddings } from 'evenkeel'
import * as typescript from 'evenkeel/js'
import { warm } from '../dist/esm/cli/bench/measure.js'
import { largestDifference, readJson, readTensor, sameBits, table, ulpsApart, writeTensor } from './data.ts'
import { cosine, hamming, type Nearness, nearest } from './neighbours.ts'

const sentences: string[] = await readJson('examples/use_sentences.json')
const hidden = await readTensor('examples/use_hidden_24x26x512.npy')
const lengths = (await readTensor('examples/use_lengths_24.npy')).data
const [count, positions, features] = hidden.dims
const tokens = lengths.reduce((sum, length) => sum + length)
/** Sentences 2i and 2i + 1 of these mean the same. */
const paired = 22

/** The package on the backend that runs, and the one that is TypeScript alone. */
type Package = typeof evenkeel

/** What is stored: a precision, and how its codes are scaled. */
type Form = Pick<evenkeel.PoolingOptions, 'precision' | 'scale'>

interface Vectors {
  readonly data: evenkeel.EmbeddingArray
  /** One per vector, where the form has such. */
  readonly scales: Float32Array | undefined
}

/** Says what is so; where it is not, this program fails. */
function check(statement: string, holds: boolean): void {
  console.log(`${holds ? 'checked   ' : 'NOT SO    '} ${statement}`)
  if (!holds) process.exitCode = 1
}

function printMachine(): void {
  const { why, missing } = backendInfo()
  console.log(`backend    ${backend}: ${why} (${os.cpus()[0]?.model.trim()})`)
  for (const { name, why } of missing) console.log(`           no ${name}: ${why}`)
  console.log(
    `data       the last hidden states of the Universal Sentence Encoder lite for ${count} sentences: ${positions} positions ` +
      `x ${features}\n           features each; ${tokens} of the ${count * positions} positions are tokens, the others padding`
  )
}

/** The package and the encoder itself, which ran in TensorFlow.js. Its last dense layer, with tanh, is not in the data. */
async function compareWithEncoder(): Promise<void> {
  const pooled = poolEmbeddings(hidden, { lengths, normalize: false }).data
  const apart = ulpsApart((await readTensor('examples/use_pooled_24x512.npy')).data, pooled, features)
  check(`pooled: the encoder's own vectors, within ${apart} ULP of each row's largest`, apart <= 2)

  const tanh = await readTensor('examples/use_tanh_24x512.npy')
  const unit = normalize(tanh.data, features, { rule: 'clamp-square' })
  const unitApart = ulpsApart((await readTensor('examples/use_embedding_24x512.npy')).data, unit, features)
  check(`normalize: the encoder's embeddings from its tanh layer, within ${unitApart} ULP`, unitApart <= 2)
}

/** The forms that databases store. Ranges are of the vectors themselves here; of a large sample, once, in an index. */
function formsOf(dimensions: number): { readonly [name: string]: Form } {
  const { ranges } = calibrateEmbeddings(embed(evenkeel, dimensions, {}).data as Float32Array, dimensions)
  return {
    float32: { precision: 'float32' },
    float16: { precision: 'float16' },
    bfloat16: { precision: 'bfloat16' },
    'int8, unit': { precision: 'int8', scale: 'unit' },
    'int8, row': { precision: 'int8', scale: 'row' },
    'int8, ranges': { precision: 'int8', scale: { ranges } },
    'int8, sqlite-vec': { precision: 'int8', scale: 'sqlite-vec' },
    'uint8, ranges': { precision: 'uint8', scale: { ranges } },
    ubinary: { precision: 'ubinary' }
  }
}

/** The main job: a vector for each sentence. */
function embed({ EmbeddingPooler }: Package, dimensions: number, form: Form): Vectors {
  const pooler = new EmbeddingPooler(features, { pooling: 'mean', dimensions, ...form })
  const scales = form.scale === 'row' ? new Float32Array(count) : undefined
  return { data: pooler.forward(hidden, { lengths, scales }).data as evenkeel.EmbeddingArray, scales }
}

function nearnessOf({ data, scales }: Vectors, dimensions: number, form: Form): Nearness {
  if (form.precision === 'ubinary') return hamming(data as Uint8Array, dimensions / 8)
  return cosine(dequantizeEmbeddings(data, dimensions, { ...form, scales }), dimensions)
}

function printNeighbours(): void {
  const short = (text: string) => (text.length > 60 ? `${text.slice(0, 57)}...` : text)
  const nearness = nearnessOf(embed(evenkeel, features, {}), features, {})
  console.log('\nEach sentence, and the nearest of the others by the cosine of their embeddings')
  for (const [i, sentence] of sentences.entries()) {
    const found = nearest(i, count, nearness)
    if (found === undefined) throw new Error(`two sentences are equally near to ${sentence}`)
    console.log(`  ${short(sentence).padEnd(60)}  ${nearness(i, found).toFixed(3)}  ${short(sentences[found])}`)
  }
}

/** How many of the paired sentences have the one that means the same as their nearest neighbour; a tie is none. */
function countFound(nearness: Nearness): number {
  let found = 0
  for (let i = 0; i < paired; i++) if (nearest(i, count, nearness) === (i ^ 1)) found++
  return found
}

function printPrecisions(): void {
  const rows = new Map<string, string[]>()
  let results = 0
  let same = 0
  for (const dimensions of [512, 256, 64]) {
    for (const [name, form] of Object.entries(formsOf(dimensions))) {
      const vectors = embed(evenkeel, dimensions, form)
      const bytes = (vectors.data.byteLength + (vectors.scales?.byteLength ?? 0)) / count
      const found = countFound(nearnessOf(vectors, dimensions, form))
      rows.set(name, [...(rows.get(name) ?? [name]), `${found} of ${paired}`, String(bytes)])

      const { data, scales } = embed(typescript, dimensions, form)
      results++
      if (sameBits(vectors.data, data) && (!scales || sameBits(vectors.scales as Float32Array, scales))) same++
    }
  }
  table(
    'How many sentences find the one that means the same, and bytes per vector, of the first k dimensions',
    ['', 'k = 512', 'bytes', 'k = 256', 'bytes', 'k = 64', 'bytes'],
    [...rows.values()]
  )
  console.log('  (This encoder was not trained for fewer dimensions, as Matryoshka models are.)')
  check(`${backend} and TypeScript agree in every bit of ${same} of ${results} results`, same === results)
}

/** Mean and standard deviation of the vectors at a position (from 1), averaged over the sentences that reach it. */
function momentsAt(data: Float32Array, position: number): { mean: number; std: number } {
  const starts = [...lengths.keys()].filter(i => lengths[i] >= position).map(i => i * positions + position - 1)
  let mean = 0
  let std = 0
  for (const start of starts) {
    const vector = Array.from(data.subarray(start * features, (start + 1) * features))
    const average = vector.reduce((sum, value) => sum + value) / features
    const variance = vector.reduce((sum, value) => sum + (value - average) ** 2, 0) / features
    mean += average / starts.length
    std += Math.sqrt(variance) / starts.length
  }
  return { mean, std }
}

/** The measurement of the RMSNorm paper. */
async function printPositions(): Promise<void> {
  const norms = ({ LayerNorm, RMSNorm }: Package) => ({
    layer_norm: new LayerNorm(features).forward(hidden, { lengths }),
    rms_norm: new RMSNorm(features).forward(hidden, { lengths })
  })
  const { layer_norm, rms_norm } = norms(evenkeel)
  const rows = [1, 4, 8, 12].map(position => [
    String(position),
    ...[hidden, layer_norm, rms_norm].flatMap(({ data }) => {
      const { mean, std } = momentsAt(data, position)
      return [mean.toFixed(4), std.toFixed(4)]
    })
  ])
  table(
    'Mean and standard deviation of the hidden vectors along the sentences, before and after',
    ['position', 'mean', 'std', 'LayerNorm: mean', 'std', 'RMSNorm: mean', 'std'],
    rows
  )
  const script = norms(typescript)
  const same = sameBits(layer_norm.data, script.layer_norm.data) && sameBits(rms_norm.data, script.rms_norm.data)
  check(`${backend} and TypeScript agree in every bit of both`, same)
  await writeTensor('out/layer_norm.npy', layer_norm)
  await writeTensor('out/rms_norm.npy', rms_norm)
}

/** Mean over the tokens, then L2, as one writes them by hand: along the rows, in the memory of the result. */
function plainEmbeddings(y: Float32Array): Float32Array {
  y.fill(0)
  for (let sentence = 0; sentence < count; sentence++) {
    const row = y.subarray(sentence * features, (sentence + 1) * features)
    for (let position = 0; position < lengths[sentence]; position++) {
      const start = (sentence * positions + position) * features
      const vector = hidden.data.subarray(start, start + features)
      for (let i = 0; i < features; i++) row[i] += vector[i]
    }
    let power = 0
    for (let i = 0; i < features; i++) {
      row[i] /= lengths[sentence]
      power += row[i] * row[i]
    }
    const factor = 1 / Math.max(Math.sqrt(power), 1e-12)
    for (let i = 0; i < features; i++) row[i] *= factor
  }
  return y
}

function plainCodes(y: Int8Array, embeddings: Float32Array): Int8Array {
  plainEmbeddings(embeddings)
  for (let i = 0; i < y.length; i++) y[i] = Math.round(embeddings[i] * 127)
  return y
}

/** Nanoseconds of the quickest run: by the package on each of these backends, and by hand, which is checked first. */
async function timesOf(
  name: string,
  form: Form,
  packages: readonly Package[],
  plain: () => Float32Array | Int8Array
): Promise<number[]> {
  const apart = largestDifference(embed(evenkeel, features, form).data, plain())
  const [allowed, what] = form.precision === 'int8' ? [1, 'one code'] : [1e-6, '1e-6']
  check(`${name}: the plain loop's results differ by at most ${what}`, apart <= allowed)

  const ours = ({ EmbeddingPooler }: Package) => {
    const pooler = new EmbeddingPooler(features, form)
    const out = plain().slice()
    return () => void pooler.forward(hidden, { lengths, out })
  }
  const times: number[] = []
  for (const run of [...packages.map(ours), () => void plain()]) times.push(await warm(run, 300))
  return times
}

async function printTimes(): Promise<void> {
  evenkeel.setNumThreads(1)
  const packages = backend === 'js' ? [typescript] : [evenkeel, typescript]
  const [embeddings, codes] = [new Float32Array(count * features), new Int8Array(count * features)]
  console.log()
  const floats = await timesOf('float32', {}, packages, () => plainEmbeddings(embeddings))
  const int8: Form = { precision: 'int8', scale: 'unit' }
  const bytes = await timesOf('int8, unit', int8, packages, () => plainCodes(codes, embeddings))

  const cells = (times: number[]) =>
    times.map(time => {
      const factor = times[times.length - 1] / time
      return `${(time / count / 1000).toFixed(2)} µs${factor === 1 ? '' : ` (${factor.toFixed(1)}x)`}`
    })
  table(
    'Time per sentence on one thread, of the quickest run: mean, L2, precision (x: faster than the plain loop)',
    ['', ...packages.map(one => (one === evenkeel ? backend : 'TypeScript')), 'plain loop'],
    [
      ['float32', ...cells(floats)],
      ['int8, unit', ...cells(bytes)]
    ]
  )
}

printMachine()
await compareWithEncoder()
printNeighbours()
printPrecisions()
await printPositions()
await printTimes()
const embeddings = embed(evenkeel, features, {}).data as Float32Array
await writeTensor('out/embeddings.npy', { data: embeddings, dims: [count, features] })
console.log('\nwritten    out/embeddings.npy, out/layer_norm.npy, out/rms_norm.npy')
