// The charts of a run, drawn by Vega-Lite. Grey text and no ground: they stand on white pages and on dark ones.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { named, ORT, PLAIN, TRANSFORMERS } from '../dist/esm/cli/bench/rows.js'
import { oneDnn } from './onednn.ts'
import { type ChartName, loads, overRows, speedup, threadCounts, variantNames } from './report.ts'
import { quickest, type Results, timeOf } from './results.ts'
import { COLS } from './shapes.ts'
import { bestCopy, columnsOf, isTorch, thousands } from './targets.ts'

interface Vega {
  parse(spec: object): object
  View: new (runtime: object, options: { renderer: 'none' }) => { toSVG(): Promise<string>; finalize(): void }
}
interface VegaLite {
  compile(spec: object): { spec: object }
}

/** A point of a line, or a bar. */
interface Datum {
  readonly x: number | string
  readonly y: number
  readonly who: string
}

const GREY = '#7d8590'
/** Ours warm and strong, the others cool; all of them to be told apart on white and on black. */
const palette = ['#e8590c', '#f59f00', '#94702b', '#4c8dff', '#2b9348', '#a855f7', '#db2777', '#868e96', '#0ea5b7']

const config = {
  aria: false, // half of the file would be labels
  background: null,
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  axis: {
    labelColor: GREY,
    titleColor: GREY,
    gridColor: GREY,
    gridOpacity: 0.25,
    domainColor: GREY,
    tickColor: GREY,
    titleFontWeight: 'normal'
  },
  legend: { labelColor: GREY, titleColor: GREY, symbolStrokeWidth: 3, labelLimit: 260 },
  title: { color: GREY, fontWeight: 'normal', fontSize: 13 }
}

const colour = (data: readonly Datum[]) => {
  const domain = [...new Set(data.map(({ who }) => who))]
  return {
    field: 'who',
    type: 'nominal',
    title: null,
    sort: domain,
    scale: { domain, range: palette.slice(0, domain.length) }
  }
}

const finite = (data: readonly Datum[]) => data.filter(({ y }) => Number.isFinite(y) && y > 0)

/** Powers of ten around some numbers. */
function decades(numbers: readonly number[]): number[] {
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)].map(Math.log10)
  const lowest = Math.floor(first)
  return Array.from({ length: Math.ceil(last) - lowest + 1 }, (_, i) => 10 ** (lowest + i))
}

/** Lines over a logarithmic axis of whole numbers. */
function lines(title: string, given: readonly Datum[], xTitle: string, yTitle: string, logarithmic = true): object {
  const data = finite(given)
  const values = [...new Set(data.map(({ x }) => x))]
  const powers = decades(data.map(({ y }) => y))
  const labelExpr = "format(datum.value, ',')"
  const domain = [powers[0], powers[powers.length - 1]]
  return {
    title,
    width: 480,
    height: 300,
    data: { values: data },
    mark: { type: 'line', point: { size: 36 }, strokeWidth: 2 },
    encoding: {
      x: {
        field: 'x',
        type: 'quantitative',
        title: xTitle,
        scale: { type: 'log', nice: false },
        axis: { values, grid: false, labelExpr, labelFlush: false, labelOverlap: false }
      },
      y: {
        field: 'y',
        type: 'quantitative',
        title: yTitle,
        scale: logarithmic ? { type: 'log', domain } : { zero: true },
        axis: logarithmic ? { values: powers, labelExpr } : { tickCount: 6 }
      },
      color: colour(data)
    }
  }
}

/** Bars beside one another, a group for each x. */
function bars(title: string, data: readonly Datum[], yTitle: string, scale: object = {}): object {
  return {
    title,
    width: 480,
    height: 260,
    data: { values: data },
    mark: { type: 'bar' },
    encoding: {
      x: { field: 'x', type: 'nominal', title: null, sort: null, axis: { labelAngle: 0 } },
      xOffset: { field: 'who', sort: null },
      y: { field: 'y', type: 'quantitative', title: yTitle, scale, axis: { tickCount: 6 } },
      color: colour(data)
    }
  }
}

const specs: { readonly [name in ChartName]: (results: Results) => object } = {
  rows(results) {
    const torch = results.comparisons.flatMap(one => one.results).find(isTorch)?.name ?? 'PyTorch'
    const who = [
      ...columnsOf(results).map(name => [`evenkeel, ${name}`, named('prepared layer', name)]),
      ['evenkeel, TypeScript', named('prepared layer', 'js')],
      [PLAIN, PLAIN],
      [ORT, ORT],
      [TRANSFORMERS, TRANSFORMERS],
      ['PyTorch', torch],
      ['oneDNN', oneDnn(results.machine.backend)]
    ]
    const all = overRows(results, 'layerNorm')
    const data = who.flatMap(([who, name]) =>
      all.map(one => ({ x: one.dims[0], y: timeOf(one, name) / one.dims[0], who }))
    )
    const copies = all.map(one => ({
      x: one.dims[0],
      y: bestCopy(one, results.machine.backend) / one.dims[0],
      who: 'best copy'
    }))
    const { cpu, backend } = results.machine
    return lines(`LayerNorm, d = ${COLS}, one thread of ${cpu}, ${backend}`, [...data, ...copies], 'rows', 'ns per row')
  },
  call(results) {
    const { backend } = results.machine
    const who = [
      [`prepared layer, ${backend}`, named('prepared layer', backend)],
      [`function, ${backend}`, named('function', backend)],
      ['prepared layer, TypeScript', named('prepared layer', 'js')],
      [PLAIN, PLAIN],
      [ORT, ORT]
    ]
    const all = results.comparisons.filter(one => one.group === 'call' && one.op === 'layerNorm')
    const data = who.flatMap(([who, name]) => all.map(one => ({ x: one.dims[1], y: timeOf(one, name), who })))
    return lines('LayerNorm of one row', data, 'elements', 'ns per call')
  },
  copy(results) {
    const rate = (rows: number, time: number) => (8 * rows * COLS) / time
    const data: Datum[] = []
    for (const [op, title] of [
      ['layerNorm', 'LayerNorm'],
      ['rmsNorm', 'RMSNorm']
    ] as const) {
      for (const backend of columnsOf(results)) {
        for (const one of overRows(results, op)) {
          data.push({
            x: one.dims[0],
            y: rate(one.dims[0], timeOf(one, named('prepared layer', backend))),
            who: `${title}, ${backend}`
          })
        }
      }
    }
    for (const one of overRows(results, 'layerNorm')) {
      const { backend } = results.machine
      data.push({ x: one.dims[0], y: rate(one.dims[0], bestCopy(one, backend)), who: 'best copy' })
      data.push({
        x: one.dims[0],
        y: rate(
          one.dims[0],
          quickest(one, ({ name }) => name.startsWith(ORT))
        ),
        who: ORT
      })
      data.push({ x: one.dims[0], y: rate(one.dims[0], quickest(one, isTorch)), who: 'PyTorch' })
    }
    return lines(`d = ${COLS}, one thread`, data, 'rows', 'GB/s, read and written')
  },
  threads(results) {
    const mine = named('prepared layer', results.machine.backend)
    const all = results.comparisons.filter(one => one.group === 'threads' && one.op === 'layerNorm')
    const data = all.flatMap(one =>
      threadCounts(one).flatMap(threads => [
        { x: threads, y: speedup(one, mine, threads), who: `${thousands(one.dims[0])} rows` }
      ])
    )
    return lines(`LayerNorm, d = ${COLS}, prepared layer`, data, 'threads', 'times as fast as one thread', false)
  },
  variants(results) {
    const data: Datum[] = []
    for (const one of results.comparisons.filter(({ group }) => group === 'variants')) {
      for (const name of variantNames(one)) {
        const saved = 100 * (1 - timeOf(one, `${name} rmsNorm`) / timeOf(one, `${name} layerNorm`))
        data.push({ x: one.dims.map(thousands).join(' x '), y: saved, who: name })
      }
    }
    return bars('Time that rmsNorm saves of layerNorm', data, '% of the time')
  },
  'event-loop'({ eventLoop: loop }) {
    const names = { idle: 'nothing', transfer: 'transferred', shared: 'shared memory', synchronous: 'synchronous' }
    const data = (Object.keys(loads) as (keyof typeof loads)[]).flatMap(key => [
      { x: names[key], y: loop?.[key].p99 ?? 0, who: 'p99 of the pauses' },
      { x: names[key], y: loop?.[key].longest ?? 0, who: 'longest pause' }
    ])
    return bars(`Event loop while ${loop?.jobs} jobs of ${loop?.dims.map(thousands).join(' x ')} run`, data, 'ms')
  }
}

/** A chart as SVG, the same bytes for the same results. */
export async function draw(name: ChartName, results: Results): Promise<string> {
  const require = createRequire(import.meta.url)
  const load = (name: string) => import(pathToFileURL(require.resolve(name)).href)
  const [vega, vegaLite] = (await Promise.all([load('vega'), load('vega-lite')])) as [Vega, VegaLite]
  const view = new vega.View(vega.parse(vegaLite.compile({ config, ...specs[name](results) }).spec), {
    renderer: 'none'
  })
  const svg = await view.toSVG()
  view.finalize()
  // A hundredth of a pixel is enough.
  return `${svg.replace(/\d+\.\d{3,}/g, digits => String(Math.round(Number(digits) * 100) / 100))}\n`
}
