// npm run bench [-- --quick]: verifies every implementation against the exact result, then times them all in one run.
// The full run writes bench/results/<cpu>.md.
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { type Kernels, tables } from '../dist/esm/backend.js'
import { fill, finiteRows, normal, ordinaryWeights, random } from '../dist/esm/cases/data.js'
import { backend, LayerNorm, layerNorm, RMSNorm, rmsNorm } from '../dist/esm/index.js'
import { errorInHalfUlps, normalise } from '../test/support/oracle.ts'
import { measure } from './measure.ts'
import { installPeers, onnxruntime, type Problem, type Ready, tensorClasses, transformers } from './peers.ts'
import { plainLayerNorm, plainRmsNorm } from './plain.ts'
import { type BenchShape, shapes } from './shapes.ts'

type Op = 'layerNorm' | 'rmsNorm'

const { values: options } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const command = `npm run bench${options.quick ? ' -- --quick' : ''}`

/** What NUMERICS.md guarantees, in ULP, with weight (and bias). */
const BOUND = { layerNorm: 6.1 / 2, rmsNorm: 3.1 / 2 }

function problem(op: Op, { rows, cols }: { rows: number; cols: number }, x?: Float32Array): Problem {
  return {
    rows,
    cols,
    x: x ?? fill(normal, rows * cols, rows),
    weight: fill(ordinaryWeights, cols, 1),
    bias: op === 'layerNorm' ? fill(normal, cols, 2) : undefined,
    eps: op === 'layerNorm' ? 1e-5 : 1e-6
  }
}

/** A candidate that writes to memory of its own. */
function into({ x }: Problem, run: (y: Float32Array) => void): Ready {
  const y = new Float32Array(x.length)
  return { affine: true, run: () => run(y), result: () => y }
}

function runKernel(kernels: Kernels, { rows, cols, x, weight, bias, eps }: Problem, y: Float32Array): void {
  const none = undefined
  if (bias) kernels.layer_norm(y, cols, none, cols, none, none, x, cols, none, cols, weight, bias, rows, cols, eps)
  else kernels.rms_norm(y, cols, none, cols, none, x, cols, none, cols, weight, rows, cols, eps, 0)
}

/** Everything that can do a problem, by name; the copy of the same bytes comes last. */
async function contenders(given: Problem): Promise<Map<string, Ready>> {
  const { rows, cols, x, weight, bias, eps } = given
  const layer = bias ? new LayerNorm(cols, { weight, bias, eps }) : new RMSNorm(cols, { weight, eps })
  const all = new Map<string, Ready>()
  for (const { name, float32 } of tables)
    all.set(
      `kernel ${name}`,
      into(given, y => runKernel(float32, given, y))
    )
  all.set(
    `function (${backend})`,
    into(given, y => {
      if (bias) layerNorm(x, cols, { weight, bias, eps, out: y })
      else rmsNorm(x, cols, { weight, eps, out: y })
    })
  )
  all.set(
    `prepared layer (${backend})`,
    into(given, y => void layer.forward(x, { out: y }))
  )
  all.set(
    'plain loop',
    into(given, y => {
      if (bias) plainLayerNorm(y, x, weight, bias, rows, cols, eps)
      else plainRmsNorm(y, x, weight, rows, cols, eps)
    })
  )
  all.set('onnxruntime-node', await onnxruntime(given))
  if (bias) all.set('transformers.js (no affine)', await transformers(given))
  all.set(
    'copy',
    into(given, y => y.set(x))
  )
  return all
}

/** Largest error over the first rows, in units in the last place of the row's largest element; null for the copy. */
function error(name: string, ready: Ready, { rows, cols, x, weight, bias, eps }: Problem): number | null {
  if (name === 'copy') return null
  let worst = 0
  for (let row = 0; row < Math.min(rows, 4); row++) {
    const truth = normalise(x.subarray(row * cols, (row + 1) * cols), eps, bias !== undefined)
    if (!truth) continue
    const y = ready.result().subarray(row * cols, (row + 1) * cols)
    worst = Math.max(
      worst,
      errorInHalfUlps(y, truth, ready.affine ? weight : undefined, ready.affine ? bias : undefined)
    )
  }
  return worst / 2
}

const ulps = (value: number | null) =>
  value === null
    ? ''
    : value === Number.POSITIVE_INFINITY
      ? 'NaN or Inf'
      : value < 1000
        ? value.toFixed(2)
        : value.toExponential(1)
const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`

async function timeShape(op: Op, shape: BenchShape): Promise<string[]> {
  const given = problem(op, shape)
  const all = await contenders(given)
  for (const ready of all.values()) await ready.run()
  const errors = [...all].map(([name, ready]) => error(name, ready, given))
  for (const [i, name] of [...all.keys()].entries()) {
    const ours = /^(kernel|function|prepared)/.test(name)
    if (ours && !((errors[i] ?? 0) <= BOUND[op])) throw new Error(`${op} ${name} is ${ulps(errors[i])} ULP off`)
  }
  const times = await measure(
    [...all].map(([name, { run }]) => ({ name, run })),
    options.quick ? 100 : 600
  )
  const names = [...all.keys()]
  const timeOf = (name: string) => times[names.indexOf(name)]
  // Read x once, write y once.
  const bytes = 2 * 4 * shape.rows * shape.cols
  const lines = [
    `### ${op} ${shape.rows} x ${shape.cols}: ${shape.name}`,
    '',
    row(
      'implementation',
      'ns per row',
      'GB/s',
      'plain loop takes',
      'onnxruntime takes',
      'against the copy',
      'max error, ULP'
    ),
    row('---', '--:', '--:', '--:', '--:', '--:', '--:')
  ]
  for (const [i, name] of names.entries()) {
    lines.push(
      row(
        name,
        (times[i] / shape.rows).toFixed(0),
        (bytes / times[i]).toFixed(1),
        `${(timeOf('plain loop') / times[i]).toFixed(2)}x`,
        `${(timeOf('onnxruntime-node') / times[i]).toFixed(2)}x`,
        `${(times[i] / timeOf('copy')).toFixed(2)}x`,
        ulps(errors[i])
      )
    )
  }
  console.log(`${lines.join('\n')}\n`)
  return [...lines, '']
}

/** Who is right on which rows: the error of each implementation, one line per kind of row. */
async function hostileRows(op: Op): Promise<string[]> {
  const kinds = ['N(0,1)', 'N(1e3,1)', 'N(1e4,1)', 'N(1e6,1)', 'N(0,1e20)', 'uniform +-3.3e38', 'one outlier'] as const
  const table: string[][] = []
  let names: string[] = []
  for (const kind of kinds) {
    const given = problem(op, { rows: 1, cols: 768 }, fill(finiteRows[kind], 768, 3))
    const all = await contenders(given)
    all.delete('copy')
    names = [...all.keys()]
    for (const ready of all.values()) await ready.run()
    table.push([kind, ...[...all].map(([name, ready]) => ulps(error(name, ready, given)))])
  }
  const lines = [
    `### ${op}: max error in ULP on one row of 768`,
    '',
    row('row', ...names),
    row('---', ...names.map(() => '--:')),
    ...table.map(cells => row(...cells)),
    ''
  ]
  console.log(`${lines.join('\n')}\n`)
  return lines
}

/**
 * Our output against onnxruntime's on random shapes of ordinary rows: two independent implementations of one definition.
 * Returns the largest difference, in units in the last place of each row's largest element.
 */
async function liveComparison(op: Op, shapesTried: number): Promise<number> {
  const next = random(11)
  let worst = 0
  for (let i = 0; i < shapesTried; i++) {
    const shape = { rows: 1 + Math.floor(next() * 40), cols: 1 + Math.floor(next() * 2000) }
    const given = problem(op, shape, fill(finiteRows['N(3,0.5)'], shape.rows * shape.cols, i))
    const { x, weight, bias, eps } = given
    const ours = bias ? layerNorm(x, shape.cols, { weight, bias, eps }) : rmsNorm(x, shape.cols, { weight, eps })
    const peer = await onnxruntime(given)
    await peer.run()
    const theirs = peer.result()
    for (let start = 0; start < x.length; start += shape.cols) {
      let [largest, difference] = [0, 0]
      for (let j = start; j < start + shape.cols; j++) {
        largest = Math.max(largest, Math.abs(ours[j]))
        difference = Math.max(difference, Math.abs(ours[j] - theirs[j]))
      }
      if (difference > 0) worst = Math.max(worst, difference / largest / 2 ** -23)
    }
  }
  return worst
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
  "backend's kernel, `function` and `prepared layer` are the public calls with `out` given. An error is measured against",
  'the exact result, in units in the last place of the largest normalised element times the weight (NUMERICS.md).',
  ''
]
console.log(report.join('\n'))
for (const op of ['layerNorm', 'rmsNorm'] as const) {
  const difference = await liveComparison(op, 30)
  const line = `${op}: on 30 random shapes of rows N(3,0.5), onnxruntime-node differs from evenkeel by at most ${ulps(difference)} ULP.`
  console.log(`${line}\n`)
  report.push(line, '')
  // Ordinary rows: float32 sums of 2000 elements at mean 6 std lose at most some dozens of ULP.
  if (!(difference < 64)) throw new Error(`${op} and onnxruntime-node disagree: ${ulps(difference)} ULP`)
  report.push(...(await hostileRows(op)))
  for (const shape of shapes) if (shape.quick || !options.quick) report.push(...(await timeShape(op, shape)))
}
if (options.quick) {
  console.log('A quick run; the full one writes bench/results.')
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
