// Results as Markdown: the report of a machine, and the README's part.
import { named, ORT, ORT_OUT, PLAIN, TRANSFORMERS } from '../dist/esm/cli/bench/rows.js'
import { ownCallLines } from './calls_report.ts'
import { isCopy } from './copies.ts'
import { embeddingLines } from './embeddings_report.ts'
import { gradientOps } from './gradients_problem.ts'
import { aboutGradients, gradientLines, gradientsBesideLines } from './gradients_report.ts'
import { oneDnn } from './onednn.ts'
import { isRowOp, type Op, titles } from './problem.ts'
import { type Comparison, find, type Pauses, quickest, type Results, timeOf } from './results.ts'
import { COLS } from './shapes.ts'
import { head, number, row, shapeOf, times, ulps } from './tables.ts'
import {
  bestCopy,
  columnsOf,
  isPeerOrOneDnn,
  isTorch,
  oursOf,
  placeOf,
  targetsOf,
  thousands,
  threaded
} from './targets.ts'
import { BOUND } from './truth.ts'

/** A chart's file beside the report, and what it shows. */
export const charts = {
  rows: 'time per row over the number of rows',
  call: 'what a call with one row costs',
  copy: 'GB/s over the number of rows, and what a copy of the same bytes reaches',
  threads: 'how many times as fast several threads are',
  variants: 'time that RMSNorm saves of LayerNorm',
  'event-loop': 'pauses of the event loop'
} as const
export type ChartName = keyof typeof charts

/** Names of a comparison's candidates; a copy that ran in several processes is there once, that of the best backend. */
const listed = ({ results }: Comparison) =>
  results.filter((one, i) => results.findIndex(two => two.name === one.name) === i)

/** Comparisons side by side, a column each: nanoseconds divided by what `unit` gives. */
function timesTable(
  first: string,
  comparisons: readonly Comparison[],
  heads: readonly string[],
  unit: (one: Comparison) => number
): string[] {
  const names = [...new Set(comparisons.flatMap(one => listed(one).map(({ name }) => name)))]
  return [
    ...head(first, ...heads),
    ...names.map(name => row(name, ...comparisons.map(one => number(timeOf(one, name) / unit(one)))))
  ]
}

/** One table of an op: all that was timed, and ours against the others below. */
export function familyLines(results: Results, op: Op): string[] {
  const comparisons = results.comparisons.filter(one => one.group === 'family' && one.op === op)
  if (comparisons.length === 0) return []
  const unit = isRowOp(op) ? (one: Comparison) => one.dims[0] : () => 1000
  const heads = comparisons.map(shapeOf)
  const mine = named('prepared layer', results.machine.backend)
  const fast = (one: Comparison) => oursOf(one, results.machine.backend)
  const peer = (one: Comparison) =>
    Math.min(...one.results.filter(isPeerOrOneDnn).map(({ nanoseconds }) => nanoseconds))
  const bytes = (one: Comparison) => 8 * one.dims.reduce((product, dim) => product * dim, 1)
  const ratios: [string, (one: Comparison) => string][] = [
    ['*ours: the plain loop takes*', one => times(timeOf(one, PLAIN) / fast(one))],
    ['*the best peer takes*', one => times(peer(one) / fast(one))],
    ['*against the best copy*', one => times(fast(one) / bestCopy(one, results.machine.backend))],
    ['*GB/s, read and written*', one => number(bytes(one) / fast(one))]
  ]
  const errors = listed(comparisons[0]).filter(
    ({ name, ulp }) => ulp !== undefined && (isPeerOrOneDnn({ name }) || name === mine)
  )
  const worst = (name: string) => {
    const all = comparisons.flatMap(one => one.results.filter(two => two.name === name).map(({ ulp }) => ulp))
    return all.includes(null) ? null : Math.max(...(all as number[]))
  }
  return [
    ...timesTable(isRowOp(op) ? 'ns per row' : 'µs', comparisons, heads, unit),
    ...ratios.map(([name, ratio]) => row(name, ...comparisons.map(ratio))),
    '',
    `What these are: ${comparisons.map(one => `${shapeOf(one)} ${one.name}`).join('; ')}. ` +
      `Largest errors here, in ULP: ${errors.map(({ name }) => `${name} ${ulps(worst(name))}`).join(', ')}.`,
    ''
  ]
}

export function accuracyLines(results: Results, op: Op): string[] {
  const own = results.accuracy.filter(one => one.op === op)
  if (own.length === 0) return []
  const names = Object.keys(own[0].errors).filter(name => name !== ORT_OUT)
  const live = results.live.find(one => one.op === op)
  const lines = [
    ...head(`max error in ULP, ${shapeOf(own[0])}`, ...names),
    ...own.map(({ numbers, errors }) => row(numbers, ...names.map(name => ulps(errors[name])))),
    ''
  ]
  if (live) {
    lines.push(
      `On ${live.shapes} random shapes of N(3,0.5), onnxruntime-node differs from evenkeel by at most ` +
        `${ulps(live.difference)} ULP; from the exact result evenkeel by ${ulps(live.ours)} ` +
        `(bound ${ulps(BOUND[op])}), onnxruntime-node by ${ulps(live.theirs)}.` +
        (live.statistics === undefined
          ? ''
          : ` Running statistics differ by at most ${live.statistics.toExponential(1)} of them.`),
      ''
    )
  }
  return lines
}

export function callLines(results: Results): string[] {
  const lines: string[] = []
  for (const op of ['layerNorm', 'rmsNorm'] as const) {
    const own = results.comparisons.filter(one => one.group === 'call' && one.op === op)
    if (own.length === 0) continue
    lines.push(
      ...timesTable(
        `${titles[op]}, 1 row, ns per call; d =`,
        own,
        own.map(one => thousands(one.dims[1])),
        () => 1
      ),
      ''
    )
  }
  return lines
}

/** Comparisons of one op over the number of rows of 768. */
export const overRows = (results: Results, op: Op) =>
  results.comparisons.filter(
    one => one.group === 'family' && one.op === op && one.dims[1] === COLS && one.dims.length === 2
  )

export function copyLines(results: Results): string[] {
  const own = overRows(results, 'layerNorm')
  if (own.length === 0) return []
  const rate = (one: Comparison | undefined, time: number) => number((8 * (one?.dims[0] ?? 0) * COLS) / time)
  const lines = head('GB/s read and written, d = 768; rows:', ...own.map(one => thousands(one.dims[0])))
  for (const op of ['layerNorm', 'rmsNorm'] as const) {
    const all = overRows(results, op)
    for (const backend of columnsOf(results)) {
      lines.push(
        row(`${titles[op]} (${backend})`, ...all.map(one => rate(one, timeOf(one, named('prepared layer', backend)))))
      )
    }
  }
  for (const backend of columnsOf(results)) {
    lines.push(row(`best copy, beside ${backend}`, ...own.map(one => rate(one, bestCopy(one, backend)))))
  }
  const winners = own.map(one => {
    const copies = one.results.filter(({ name, contender }) => isCopy(name) && contender === results.machine.backend)
    return copies.sort((a, b) => a.nanoseconds - b.nanoseconds)[0]?.name.replace(/^copy \((.*)\)$/, '$1') ?? ''
  })
  lines.push(row('which is', ...winners))
  for (const op of ['layerNorm', 'rmsNorm'] as const) {
    for (const backend of columnsOf(results)) {
      const ratio = (one: Comparison) => times(timeOf(one, named('prepared layer', backend)) / bestCopy(one, backend))
      lines.push(row(`${titles[op]} (${backend}) against it`, ...overRows(results, op).map(ratio)))
    }
  }
  lines.push(row('times the last-level cache', ...own.map(one => placeOf(results, one).replace(/ times.*/, ''))))
  return [...lines, '']
}

export function threadsLines(results: Results): string[] {
  const lines: string[] = []
  for (const op of ['layerNorm', 'rmsNorm'] as const) {
    const own = results.comparisons.filter(one => one.group === 'threads' && one.op === op)
    if (own.length === 0) continue
    lines.push(
      ...timesTable(
        `${titles[op]}, d = 768, ns per row; rows:`,
        own,
        own.map(one => thousands(one.dims[0])),
        one => one.dims[0]
      )
    )
    const mine = named('prepared layer', results.machine.backend)
    for (const threads of threadCounts(own[0]).slice(1)) {
      lines.push(row(`*ours: one thread takes, of ${threads}*`, ...own.map(one => times(speedup(one, mine, threads)))))
    }
    lines.push('')
  }
  return lines
}

/** How many threads a comparison has candidates for. */
export const threadCounts = ({ results }: Comparison) =>
  [...new Set(results.map(({ name }) => Number(/, (\d+) threads?$/.exec(name)?.[1])))].filter(Number.isFinite)
export const speedup = (one: Comparison, name: string, threads: number) =>
  timeOf(one, threaded(name, 1)) / timeOf(one, threaded(name, threads))

export const variantOps = ['layerNorm', 'rmsNorm', 'pRMSNorm'] as const

export function variantsLines(results: Results): string[] {
  const lines: string[] = []
  for (const one of results.comparisons.filter(({ group }) => group === 'variants')) {
    const saved = (a: number, b: number) => `${((1 - a / b) * 100).toFixed(0)} %`
    lines.push(
      ...head(
        `${shapeOf(one)}, ns per row`,
        ...variantOps,
        'rmsNorm saves of layerNorm',
        'pRMSNorm saves of layerNorm',
        'pRMSNorm saves of rmsNorm'
      )
    )
    for (const name of variantNames(one)) {
      const [layer, rms, partial] = variantOps.map(op => timeOf(one, `${name} ${op}`))
      lines.push(
        row(
          name,
          ...[layer, rms, partial].map(time => number(time / one.dims[0])),
          saved(rms, layer),
          saved(partial, layer),
          saved(partial, rms)
        )
      )
    }
    lines.push('')
  }
  return lines
}

export const variantNames = (one: Comparison) => [...new Set(one.results.map(({ name }) => name.replace(/ \w+$/, '')))]

/** What the event loop went through, in the order of the table and the chart. */
export const loads = {
  idle: 'nothing',
  transfer: '`forwardAsync`, `transfer`',
  shared: '`forwardAsync`, shared memory',
  synchronous: '`forward`'
} as const

export function eventLoopLines({ eventLoop: loop }: Results): string[] {
  if (!loop) return []
  const line = (name: string, { p99, longest, worst }: Pauses) =>
    row(name, p99.toFixed(2), longest.toFixed(2), worst.toFixed(2), `${(longest / loop.callOnOne).toFixed(2)}x`)
  return [
    ...head('while this runs', 'p99 of the pauses, ms', 'longest of a run', 'worst of all', 'longest against one call'),
    ...(Object.keys(loads) as (keyof typeof loads)[]).map(key => line(loads[key], loop[key])),
    '',
    `Each run is ${loop.jobs} jobs of ${shapeOf(loop)}, on ${loop.threads} threads. A pause is what a probe waits that`,
    `asks the loop every millisecond, from a thread of its own. ${loop.runs} runs: p99 of all pauses, the median of`,
    'the longest of each run, the worst.',
    `One synchronous call takes ${loop.callOnOne.toFixed(2)} ms on one thread, ${loop.call.toFixed(2)} ms on all.`,
    ''
  ]
}

/** The table of targets: for each backend what was seen, and whether that is enough. */
export function targetLines(results: Results): string[] {
  const columns = columnsOf(results)
  const targets = targetsOf(results).filter(({ figures }) => figures.some(figure => figure !== undefined))
  if (targets.length === 0) return []
  return [
    ...head('case, d = 768 unless said, one thread unless said', 'target', ...columns.flatMap(name => [name, 'met'])),
    ...targets.map(one =>
      row(
        one.case,
        one.goal,
        ...one.figures.flatMap(figure => (figure ? [figure.text, figure.met ? 'yes' : '**no**'] : ['', '']))
      )
    ),
    '',
    'Copies: against the best copy of the same bytes; of gradients, of x. The best peer of all but oneDNN, which has rows',
    'of its own.',
    ''
  ]
}

const chart = (name: ChartName) => [`![${charts[name]}](${name}.svg)`, '']

/** How to read the report. */
const about = [
  'Medians of interleaved samples of one run: compare within a table, not between runs. Each contender has a',
  "process of its own; float32, one thread unless said. `kernel` is the call of a backend's kernel, `function` and",
  '`prepared layer` are the public calls with `out` given; all of them give the same bits, on every number of',
  'threads, which was checked. The best copy is the quickest of memcpy (Buffer.copy), TypedArray.set, a loop in C',
  'and non-temporal stores, from the same x to the same y. onnxruntime-node and PyTorch give new outputs,',
  '`output given` writes to ones that are there. onnxruntime knows channels first only; layerNorm over axis 1 is two',
  'transpositions and a LayerNormalization there. PyTorch 1.13 has no rms_norm; rmsNorm is',
  '`x * rsqrt(mean(x^2) + eps) * weight` there. tfjs knows channels last only; its input and output stay in wasm',
  'memory. oneDNN is called through an addon that adds a native call; its training moves no running statistics. The',
  'oneDNN beside avx2 is held to AVX2; where EVENKEEL_BACKEND=avx2, PyTorch is, too, but not onnxruntime-node. The plain',
  'loop and our TypeScript have seen 256, 1 and 32 rows before they are timed: V8 makes other code for a loop that has',
  'seen one number of rows only. An error is measured against the exact result, in units in the last place of the largest',
  'normalised element of the group times the weight (NUMERICS.md), localResponseNorm: of the element itself.'
]

/** The report of a machine, bench/results/<cpu>/README.md. */
export function report(results: Results): string {
  const { machine, versions, absent, command, seconds } = results
  const ops = (Object.keys(titles) as Op[]).filter(op =>
    results.comparisons.some(one => one.group === 'family' && one.op === op)
  )
  const cache = machine.cache ? `, last-level cache ${machine.cache / 2 ** 20} MiB` : ''
  const taking = Object.entries(versions).filter(([name]) => !machine.backends.includes(name) && name !== PLAIN)
  return [
    `# ${machine.cpu}, best backend ${machine.backend}`,
    '',
    `\`${command}\`: ${seconds} s; Node.js ${machine.node}, ${machine.platform}, ${machine.cores} cores${cache}.`,
    `With ${taking.map(([name, version]) => `${name} ${version}`).join(', ')}` +
      `${absent.map(({ name, why }) => `; without ${name}: ${why}`).join('')}.`,
    'The same as data: results.json beside this file, in the repository.',
    '',
    ...about,
    '',
    '## Targets',
    '',
    ...targetLines(results),
    '## Time per row',
    '',
    ...chart('rows'),
    'The figures are in the tables of layerNorm and rmsNorm below.',
    '',
    '## One row: the cost of a call',
    '',
    ...chart('call'),
    ...callLines(results),
    ...ownCallLines(results),
    '## Against the copy',
    '',
    ...chart('copy'),
    ...copyLines(results),
    '## Threads',
    '',
    ...chart('threads'),
    ...threadsLines(results),
    '## RMSNorm against LayerNorm',
    '',
    'The time that rmsNorm, and pRMSNorm of the first 6.25 % of the features, save; layerNorm with weight and bias,',
    'the others with weight. The paper (Zhang & Sennrich 2019) reports 7 to 64 % of whole models.',
    '',
    ...chart('variants'),
    ...variantsLines(results),
    '## The event loop',
    '',
    ...chart('event-loop'),
    ...eventLoopLines(results),
    ...ops.flatMap(op => [`## ${titles[op]}`, '', ...familyLines(results, op), ...accuracyLines(results, op)]),
    ...(results.gradients ? ['## Gradients', '', ...aboutGradients, ''] : []),
    ...gradientOps.flatMap(op => gradientLines(results, op)),
    ...gradientsBesideLines(results),
    ...(results.embeddings ? ['## Embeddings: pooled, normalised, int8 codes', '', ...embeddingLines(results)] : [])
  ]
    .join('\n')
    .replace(/\n+$/, '\n')
}

/** The README's part: one chart and one table, and where they come from. */
export function readmePart(results: Results, folder: string): string {
  const { machine } = results
  const { backend } = machine
  const comparisons = [1, 256, 32768].map(rows => find(results, 'family', 'layerNorm', rows, COLS))
  const kinds = ['N(0,1)', 'N(1e4,1)', 'N(0,1e20)']
  const errors = kinds.map(kind => results.accuracy.find(one => one.op === 'layerNorm' && one.numbers === kind)?.errors)
  const torch = results.comparisons[0].results.find(isTorch)?.name
  const dnn = oneDnn(backend)
  const major = (name: string) => results.versions[name]?.split('.').slice(0, 2).join('.') ?? ''
  const line = (title: string, name: string, column?: string) =>
    row(
      title,
      ...comparisons.map(one => number(timeOf(one, name) / (one?.dims[0] ?? 1))),
      ...errors.map(all => (column ? ulps(all?.[column]) : ''))
    )
  const copies = comparisons.map(one =>
    number(quickest(one, ({ name, contender }) => isCopy(name) && contender === backend) / (one?.dims[0] ?? 1))
  )
  return [
    ...head(
      'LayerNorm, d = 768, ns per row',
      '1 row',
      '256 rows',
      '32,768 rows',
      'max error, ULP: N(0, 1)',
      'N(10⁴, 1)',
      'N(0, 10²⁰)'
    ),
    line(`**evenkeel, ${backend}, prepared layer**`, named('prepared layer', backend), 'evenkeel'),
    line('**evenkeel, TypeScript**', named('prepared layer', 'js'), 'evenkeel'),
    line('plain JavaScript loop', PLAIN, PLAIN),
    line(`onnxruntime-node ${major('onnxruntime-node')}`, ORT, ORT),
    line(`transformers.js ${major('transformers.js')}`, TRANSFORMERS, TRANSFORMERS),
    ...(torch ? [line(`PyTorch ${major('PyTorch')}, CPU`, torch, torch)] : []),
    ...(dnn in results.versions ? [line(`oneDNN ${major(dnn)}`, dnn, dnn)] : []),
    row('the best copy of the same bytes', ...copies, '', '', ''),
    '',
    `![LayerNorm: ${charts.rows}, ${machine.cpu}, ${backend}](bench/results/${folder}/rows.svg)`,
    '',
    `Measured by \`npm run bench\` in one run, on one thread of an ${machine.cpu} with ${backend}, Node.js ${machine.node}`,
    `([all operations, shapes and targets](bench/results/${folder}/README.md));`,
    "ULP: of the row's largest element. transformers.js has no weight and bias, and its eps stands outside the root."
  ].join('\n')
}

const [BEGIN, END] = ['<!-- made by npm run bench -->', '<!-- end -->']

/** The README with its part made anew. */
export function withPart(readme: string, part: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`README.md has no part from ${BEGIN} to ${END}`)
  return `${readme.slice(0, begin + BEGIN.length)}\n\n${part}\n\n${readme.slice(end)}`
}
