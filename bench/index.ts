// npm run bench [-- --quick] [-- --only batchNorm]: verifies every implementation against the exact result, then times them
// all in one run. The full run of all ops writes bench/results/<cpu>.md.
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { tables } from '../dist/esm/backend.js'
import { fill, firstDifference, normal, random } from '../dist/esm/cases/data.js'
import { backend, batchNorm, LayerNorm, layerNorm } from '../dist/esm/index.js'
import { measure } from './measure.ts'
import { into, isOurs, ours } from './ours.ts'
import { installPeers, onnxruntime, type Ready, tensorClasses, tfjs, transformers } from './peers.ts'
import { plain } from './plain.ts'
import { isRowOp, MOMENTUM, type Op, type Problem, problemOf, titles } from './problem.ts'
import { type BenchShape, shapes, variantShapes } from './shapes.ts'
import { BOUND, countGroups, elementsOf, judge } from './truth.ts'

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } }
})
const { only } = options
if (only !== undefined && !(only in titles)) {
  throw new RangeError(`bench: --only expected one of ${Object.keys(titles).join(', ')}, got ${only}`)
}
const command = `npm run bench${options.quick ? ' -- --quick' : ''}`
const budget = options.quick ? 60 : 500
const wanted = ({ quick }: { quick?: boolean }) => quick || !options.quick

const PLAIN = 'plain loop'
const ORT = 'onnxruntime-node'
const TFJS = 'tfjs (wasm)'
const TRANSFORMERS = 'transformers.js (no affine)'
const COPIES = ['copy', 'copy (Buffer)']

/** Everything that can do a problem, by name. */
async function contenders(given: Problem): Promise<Map<string, Ready>> {
  const all = ours(given)
  const add = (name: string, ready: Ready | undefined) => ready && all.set(name, ready)
  add(
    PLAIN,
    into(given, y => plain(given, y))
  )
  add(ORT, await onnxruntime(given))
  add(TFJS, await tfjs(given))
  add(TRANSFORMERS, await transformers(given))
  return all
}

/** Copies of the same bytes; the quicker one counts. */
function copies(given: Problem): Map<string, Ready> {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) =>
    Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)
  const from = bytes(given.x)
  return new Map([
    [COPIES[0], into(given, y => () => y.set(given.x))],
    [
      COPIES[1],
      into(given, y => {
        const to = bytes(y)
        return () => void from.copy(to)
      })
    ]
  ])
}

/**
 * Runs each once and gives its error in ULP. Throws where ours is beyond the bound, or where two of ours differ in any bit
 * of the whole tensor.
 */
async function verify(given: Problem, all: Map<string, Ready>): Promise<Map<string, number>> {
  const errorOf = judge(given)
  const errors = new Map<string, number>()
  let first: { y: Float32Array; error: number } | undefined
  for (const [name, ready] of all) {
    await ready.run()
    const y = ready.result()
    if (!isOurs(name)) {
      errors.set(name, errorOf(y, ready.affine))
      continue
    }
    first ??= { y, error: errorOf(y) }
    if (!(first.error <= BOUND[given.op])) throw new Error(`${titles[given.op]}, ${name}: ${ulps(first.error)} ULP off`)
    if (firstDifference(first.y, y) >= 0) throw new Error(`${titles[given.op]}, ${name}: other bits`)
    errors.set(name, first.error)
  }
  return errors
}

const ulps = (value: number | undefined) =>
  value === undefined
    ? ''
    : value === Number.POSITIVE_INFINITY
      ? 'NaN or Inf'
      : value < 1000
        ? value.toFixed(2)
        : value.toExponential(1)
const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`
const head = (first: string, ...others: string[]) => [row(first, ...others), row('---', ...others.map(() => '--:'))]
const times = (value: number) => (Number.isFinite(value) ? `${value.toFixed(2)}x` : '')
const shapeOf = ({ dims, channelsLast }: { dims: readonly number[]; channelsLast?: boolean }) =>
  dims.length === 2 ? dims.join(' x ') : `[${dims.join(', ')}]${channelsLast ? ' channels last' : ''}`

/** What one shape showed, for the table of targets. */
interface Outcome {
  readonly title: string
  readonly bestPeer: string
  readonly againstPeer: number
  readonly againstCopy: number
  /** Whether it is to come near the copy. */
  readonly copyCounts: boolean
}

async function timeShape(shape: BenchShape, outcomes: Outcome[]): Promise<string[]> {
  const given = problemOf(shape)
  const all = await contenders(given)
  const errors = await verify(given, all)
  for (const [name, error] of errors) {
    // On ordinary numbers whoever does the same thing is right to three digits at least.
    if (!(error < 10_000)) throw new Error(`${titles[shape.op]}, ${name}: another result, ${ulps(error)} ULP off`)
  }
  for (const [name, ready] of copies(given)) all.set(name, ready)
  const names = [...all.keys()]
  // These two give a new array each time.
  const litters = (name: string) => given.x.byteLength > 2 ** 20 && (name === ORT || name === TRANSFORMERS)
  const measured = await measure(
    names.map(name => ({ name, run: (all.get(name) as Ready).run, litters: litters(name) })),
    budget
  )
  for (const { release } of all.values()) release?.()
  const timeOf = (...some: string[]) =>
    Math.min(...measured.filter((_, i) => some.includes(names[i]) && Number.isFinite(measured[i])))
  const peers = names.filter(name => !isOurs(name) && !COPIES.includes(name))
  const copy = timeOf(...COPIES)
  const best = timeOf(...peers)
  // Read x once, write y once.
  const bytes = 2 * 4 * given.x.length
  const unit = isRowOp(shape.op) ? { name: 'ns per row', of: given.samples } : { name: 'µs', of: 1000 }
  const title = `${titles[shape.op]} ${shapeOf(shape)}`
  const ratios = ['plain loop takes', 'onnxruntime takes', 'best peer takes', 'against the copy']
  const lines = [
    `### ${title}: ${shape.name}`,
    '',
    ...head('implementation', unit.name, 'GB/s', ...ratios, 'max error, ULP')
  ]
  for (const [i, name] of names.entries()) {
    const time = measured[i]
    lines.push(
      row(
        name,
        (time / unit.of).toFixed(0),
        (bytes / time).toFixed(1),
        times(timeOf(PLAIN) / time),
        times(timeOf(ORT) / time),
        times(best / time),
        times(time / copy),
        ulps(errors.get(name))
      )
    )
  }
  console.log(`${lines.join('\n')}\n`)
  const mine = timeOf(`function (${backend})`)
  const bestPeer = peers.find(name => timeOf(name) === best) ?? ''
  const copyCounts = shape.op === 'batchNorm' && bytes > 2 ** 25
  outcomes.push({ title, bestPeer, againstPeer: best / mine, againstCopy: mine / copy, copyCounts })
  return [...lines, '']
}

/** Small problems with about 768 elements in a group, for hostile numbers. */
const hostileDims: { readonly [op in Op]: readonly number[] } = {
  layerNorm: [1, 768],
  layerNormChannels: [1, 768, 2, 2],
  rmsNorm: [1, 768],
  pRMSNorm: [1, 768],
  batchNorm: [768, 4],
  batchNormTraining: [768, 4],
  groupNorm: [1, 96, 16, 16],
  instanceNorm: [1, 2, 24, 32],
  normalize: [1, 768],
  localResponseNorm: [2, 24, 4, 4]
}

/** Who is right on which numbers: the error of each implementation, a line for each kind. */
async function hostileRows(op: Op): Promise<string[]> {
  const kinds = ['N(0,1)', 'N(1e3,1)', 'N(1e4,1)', 'N(1e6,1)', 'N(0,1e20)', 'uniform +-3.3e38', 'one outlier'] as const
  const table: string[] = []
  let names: string[] = []
  const dims = hostileDims[op]
  // The peers are given the layout that they know; the numbers are the same.
  const layouts = isRowOp(op) || op === 'layerNormChannels' || dims.length === 2 ? [false] : [false, true]
  for (const kind of kinds) {
    const errors = new Map<string, number>()
    let given: Problem | undefined
    for (const channelsLast of layouts) {
      const [n, c, ...spatial] = dims
      given = problemOf({ op, dims: channelsLast ? [n, ...spatial, c] : dims, channelsLast }, kind, 3)
      const all = await contenders(given)
      for (const [name, error] of await verify(given, all)) {
        const column = isOurs(name) ? 'evenkeel' : name
        errors.set(column, Math.max(errors.get(column) ?? 0, error))
      }
      for (const { release } of all.values()) release?.()
    }
    if (!given?.runningVar.every(Number.isFinite)) continue // such statistics are no float32
    names = [...errors.keys()]
    table.push(row(kind, ...names.map(name => ulps(errors.get(name)))))
  }
  const lines = [
    `### ${titles[op]}: max error in ULP, ${shapeOf({ dims })}`,
    '',
    ...head('numbers', ...names),
    ...table,
    ''
  ]
  console.log(`${lines.join('\n')}\n`)
  return lines
}

/** Dimensions that an op may have, of ordinary size. */
function randomDims(op: Op, next: () => number): number[] {
  const upTo = (n: number) => 1 + Math.floor(next() * n)
  if (isRowOp(op)) return [upTo(40), upTo(2000)]
  if (op === 'groupNorm') return [upTo(3), 32 * upTo(4), 1 + upTo(12), 1 + upTo(12)]
  return [1 + upTo(8), upTo(64), 1 + upTo(15), 1 + upTo(15)]
}

/** How far onnxruntime and evenkeel are from each other and from the truth, at most. */
interface Comparison {
  difference: number
  ours: number
  theirs: number
  /** Relative, of the running statistics. */
  statistics: number
}

/**
 * Our output against onnxruntime's on random shapes of ordinary numbers: two independent implementations of one
 * definition. A difference is in units in the last place of the largest element of its group.
 */
async function liveComparison(op: Op, shapesTried: number): Promise<Comparison | undefined> {
  const next = random(11)
  const found = { difference: 0, ours: 0, theirs: 0, statistics: 0 }
  for (let i = 0; i < shapesTried; i++) {
    const given = problemOf({ op, dims: randomDims(op, next) }, 'N(3,0.5)', i)
    const peer = await onnxruntime(given)
    if (!peer) return undefined
    await peer.run()
    const mine = ours(given).get(`function (${backend})`) as Ready
    await mine.run()
    const [y, z] = [mine.result(), peer.result()]
    const errorOf = judge(given)
    found.ours = Math.max(found.ours, errorOf(y))
    found.theirs = Math.max(found.theirs, errorOf(z))
    for (let group = 0; group < countGroups(given); group++) {
      let [largest, difference] = [0, 0]
      for (const j of elementsOf(given, group).at) {
        largest = Math.max(largest, Math.abs(y[j]))
        difference = Math.max(difference, Math.abs(y[j] - z[j]))
      }
      if (difference > 0) found.difference = Math.max(found.difference, difference / largest / 2 ** -23)
    }
    if (op === 'batchNormTraining') {
      found.statistics = Math.max(found.statistics, compareStatistics(given, peer))
    }
  }
  return found
}

/** The running statistics after one step, ours by ONNX's convention (population variance) against theirs. */
function compareStatistics(given: Problem, peer: Ready): number {
  const theirs = peer.statistics?.()
  if (!theirs) return Number.POSITIVE_INFINITY
  const [runningMean, runningVar] = [given.runningMean.slice(), given.runningVar.slice()]
  const { x: data, dims } = given
  batchNorm({ data, dims }, { training: true, runningMean, runningVar, momentum: MOMENTUM, unbiased: false })
  let worst = 0
  for (let c = 0; c < given.channels; c++) {
    worst = Math.max(worst, Math.abs(theirs.mean[c] / runningMean[c] - 1))
    worst = Math.max(worst, Math.abs(theirs.variance[c] / runningVar[c] - 1))
  }
  return worst
}

async function compareLive(op: Op): Promise<string[]> {
  const count = options.quick ? 8 : 30
  const found = await liveComparison(op, count)
  if (!found) return []
  const { difference, ours: mine, theirs, statistics } = found
  const line =
    `${titles[op]}: on ${count} random shapes of N(3,0.5), onnxruntime-node differs from evenkeel by at most ` +
    `${ulps(difference)} ULP; from the exact result evenkeel by ${ulps(mine)} (bound ${ulps(BOUND[op])}), ` +
    `onnxruntime-node by ${ulps(theirs)}.` +
    (op === 'batchNormTraining' ? ` Running statistics differ by at most ${statistics.toExponential(1)} of them.` : '')
  console.log(`${line}\n`)
  // Ordinary numbers: one pass of float32 sums at a mean of 6 deviations loses up to some hundred ULP.
  if (!(difference < 1000)) throw new Error(`${op} and onnxruntime-node disagree: ${ulps(difference)} ULP`)
  if (!(mine <= BOUND[op])) throw new Error(`${op}: ${ulps(mine)} ULP off`)
  if (!(statistics < 1e-4)) throw new Error(`${op} and onnxruntime-node disagree on the running statistics`)
  return [line, '']
}

/** rmsNorm and pRMSNorm against layerNorm: what the RMSNorm paper reports as 7 to 64 %. */
async function timeVariants(): Promise<string[]> {
  const ops = ['layerNorm', 'rmsNorm', 'pRMSNorm'] as const
  const lines = [
    '## rmsNorm and pRMSNorm (first 6.25 % of the features) against layerNorm',
    '',
    'The time that they save; layerNorm with weight and bias, the others with weight.',
    ''
  ]
  for (const shape of variantShapes.filter(wanted)) {
    const candidates: { name: string; run: Ready['run'] }[] = []
    for (const op of ops) {
      const given = problemOf({ op, ...shape })
      const all = ours(given)
      all.set(
        PLAIN,
        into(given, y => plain(given, y))
      )
      await verify(given, all)
      for (const [name, { run }] of all) candidates.push({ name: `${name} ${op}`, run })
    }
    const measured = await measure(candidates, budget)
    const timeOf = (name: string) => measured[candidates.findIndex(one => one.name === name)]
    const saved = (a: number, b: number) => `${((1 - a / b) * 100).toFixed(0)} %`
    lines.push(
      `### ${shapeOf(shape)}: ${shape.name}`,
      '',
      ...head(
        'ns per row',
        ...ops,
        'rmsNorm saves of layerNorm',
        'pRMSNorm saves of layerNorm',
        'pRMSNorm saves of rmsNorm'
      )
    )
    for (const name of [...tables.map(table => `kernel ${table.name}`), `function (${backend})`, PLAIN]) {
      const [layer, rms, partial] = ops.map(op => timeOf(`${name} ${op}`))
      const perRow = [layer, rms, partial].map(time => (time / shape.dims[0]).toFixed(0))
      lines.push(row(name, ...perRow, saved(rms, layer), saved(partial, layer), saved(partial, rms)))
    }
    lines.push('')
  }
  console.log(`${lines.join('\n')}\n`)
  return lines
}

/** Both targets, shape by shape: 2 times the best peer; for large batchNorm inference 1.5 times a copy. */
function targetLines(outcomes: readonly Outcome[]): string[] {
  const lines = [
    '## Targets',
    '',
    'The public function: at least 2 times as fast as the best peer; batchNorm inference on large tensors (32 MiB read and',
    'written, or more) at most 1.5 times a copy of the same bytes.',
    '',
    ...head('call', 'best peer', 'it takes', 'against the copy', 'met')
  ]
  for (const { title, bestPeer, againstPeer, againstCopy, copyCounts } of outcomes) {
    const met = againstPeer >= 2 && (!copyCounts || againstCopy <= 1.5)
    lines.push(row(title, bestPeer, times(againstPeer), times(againstCopy), met ? 'yes' : 'no'))
  }
  console.log(`${lines.join('\n')}\n`)
  return [...lines, '']
}

/** Fails unless tensors of the peers' classes go in and come back as such, with the bits of the array. */
async function checkTensors(): Promise<void> {
  const x = fill(normal, 6, 1)
  for (const [name, Tensor] of Object.entries(await tensorClasses())) {
    const given = new Tensor('float32', x, [2, 3])
    for (const y of [layerNorm(given, 3), new LayerNorm(3).forward(given)]) {
      const same = y instanceof Tensor && String(y.dims) === '2,3' && String(y.data) === String(layerNorm(x, 3))
      if (!same) throw new Error(`a tensor of ${name} did not come back as one`)
    }
    console.log(`tensors of ${name} go in and come back`)
  }
  console.log()
}

installPeers()
await checkTensors()
const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
const report = [
  `# ${cpu}, best backend ${backend}`,
  '',
  `\`${command}\`, Node.js ${process.versions.node}, ${process.platform}-${process.arch}, one thread, float32.`,
  '',
  'Medians of interleaved samples of one run: compare within a table, not between runs. `kernel` is the call of a',
  "backend's kernel, `function` and `prepared layer` are the public calls with `out` given; all of them give the same bits,",
  'which was checked. Peers: onnxruntime-node and tfjs where they have the op, transformers.js for layerNorm, a plain loop;',
  '`best peer takes` is the time of the quickest of them. onnxruntime knows channels first only; layerNorm over axis 1 is',
  'two transpositions and a LayerNormalization there. tfjs knows channels last only; its wasm backend (SIMD) has kernels for',
  'all that is timed, and its input and output stay in wasm memory. Ratios to the copy are to the quicker of two. An error',
  'is measured against the exact result, in units in the last place of the largest normalised element of the group times',
  'the weight (NUMERICS.md), localResponseNorm: of the element itself.',
  ''
]
console.log(report.join('\n'))
const outcomes: Outcome[] = []
for (const op of new Set(shapes.map(shape => shape.op))) {
  if (only !== undefined && op !== only) continue
  report.push(`## ${titles[op]}`, '')
  report.push(...(await compareLive(op)))
  report.push(...(await hostileRows(op)))
  for (const shape of shapes) {
    if (shape.op === op && wanted(shape)) report.push(...(await timeShape(shape, outcomes)))
  }
}
if (only === undefined || only === 'pRMSNorm') report.push(...(await timeVariants()))
if (outcomes.length > 0) report.push(...targetLines(outcomes))
if (options.quick || only !== undefined) {
  console.log('Not the full run, which writes bench/results.')
} else {
  const slug = `${cpu} ${backend}`
    .toLowerCase()
    .replace(/\([^)]*\)/g, ' ')
    .replace(/[^a-z0-9]+/g, '-')
  const path = new URL(`results/${slug}.md`, import.meta.url)
  mkdirSync(new URL('.', path), { recursive: true })
  writeFileSync(path, report.join('\n'))
  console.log(`written: bench/results/${slug}.md`)
}
