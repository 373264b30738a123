// The charts, for Vega-Lite.
import { positions } from './chart_positions.ts'
import { dashed, GREY, linesAndMarkers, lossAxis, marked, quantitative, title } from './chart_style.ts'
import { ADAM_RATES, BATCH_RATE, RATES, SCALE_RATE, SCALES } from './experiment.ts'
import { type NormName, normNames, normTitles } from './norms.ts'
import {
  batchLoss,
  bestCurves,
  bestRate,
  CURVE_STEPS,
  heldOut,
  type Results,
  type Setting,
  type Summary
} from './results.ts'
import { shareOf } from './times.ts'
import { average } from './train.ts'

/** Loss over steps, each norm at its best rate. */
function overSteps({ runs }: Results): object {
  const called = (norm: NormName) => `${normTitles[norm]}, rate ${bestRate(runs, norm, 'sgd')}`
  const values = normNames.flatMap(norm => {
    const curves = bestCurves(runs, norm)
    return curves[0].map((_, i) => {
      const losses = curves.map(curve => curve[i])
      const [low, high] = [Math.min(...losses), Math.max(...losses)]
      return { who: called(norm), step: CURVE_STEPS * (i + 1), mean: average(losses), low, high }
    })
  })
  const x = quantitative('step', { title: 'steps', scale: { domain: [0, 400] } })
  const scale = { domain: [2.2, 3.6] }
  const y = (field: string) => quantitative(field, { title: 'training loss, nats per character', scale })
  const { color, strokeDash } = dashed(called)
  return {
    title: {
      text: 'SGD, each norm at its best learning rate',
      subtitle: [
        'Means over 20 steps and three seeds; bands from least to most.',
        'Without a norm training begins above the top edge.'
      ]
    },
    width: 480,
    height: 320,
    data: { values },
    layer: [
      {
        mark: { type: 'area', opacity: 0.15, clip: true },
        encoding: { x, y: y('low'), y2: { field: 'high' }, color }
      },
      { mark: { type: 'line', strokeWidth: 2, clip: true }, encoding: { x, y: y('mean'), color, strokeDash } }
    ]
  }
}

interface Point extends Summary {
  readonly who: string
  readonly x: number
}

/** Losses over a logarithmic axis, with ranges over seeds; above them how many seeds diverged. */
function overSetting(
  { runs }: Results,
  {
    heading,
    xTitle,
    settings,
    domain,
    width
  }: { heading: string; xTitle: string; settings: readonly [number, Setting][]; domain: number[]; width: number }
): object {
  const values: Point[] = normNames.flatMap(norm =>
    settings.map(([x, setting]) => ({ who: normTitles[norm], x, ...heldOut(runs, { norm, ...setting }) }))
  )
  const ticks = settings.map(([x]) => x)
  const x = quantitative('x', {
    scale: { type: 'log', domain: [ticks[0] / 1.3, ticks[ticks.length - 1] * 1.3], nice: false },
    title: xTitle,
    axis: { values: ticks, grid: false, labelExpr: 'datum.value', labelOverlap: false, labelFlush: false }
  })
  const scale = { domain, zero: false }
  const y = (field: string) => quantitative(field, { title: lossAxis, scale })
  const lost = {
    title: { text: heading, fontSize: 12 },
    width,
    height: 75,
    data: {
      values: values.filter(({ diverged }) => diverged > 0).map(one => ({ ...one, label: `✕ ${one.diverged}` }))
    },
    mark: { type: 'text', fontSize: 11, color: GREY },
    encoding: {
      x: { ...x, title: null, axis: null },
      y: {
        field: 'who',
        type: 'nominal',
        sort: normNames.map(title),
        scale: { domain: normNames.map(title) },
        title: 'seeds that diverged, of 3',
        axis: { grid: true, domain: false, ticks: false, titleAngle: 0, titleAlign: 'left', titleX: 2, titleY: -6 }
      },
      text: { field: 'label' }
    }
  }
  const trained = {
    width,
    height: 260,
    data: { values: values.filter(({ diverged }) => diverged === 0) },
    layer: [
      {
        mark: { type: 'rule', strokeWidth: 4, opacity: 0.35, clip: true },
        encoding: { x, y: y('min'), y2: { field: 'max' }, color: marked.color }
      },
      ...linesAndMarkers(x, y('mean'))
    ]
  }
  return { vconcat: [lost, trained], spacing: 8 }
}

const overRate = (results: Results): object => ({
  title: {
    text: 'Loss after 400 steps, by learning rate',
    subtitle: 'Mean and range of three seeds. A line ends where a seed diverges.'
  },
  hconcat: [
    overSetting(results, {
      heading: 'SGD',
      xTitle: 'learning rate (logarithmic)',
      settings: RATES.map(rate => [rate, { optimiser: 'sgd', rate }]),
      domain: [2.2, 3.2],
      width: 330
    }),
    overSetting(results, {
      heading: 'Adam',
      xTitle: 'learning rate (logarithmic)',
      settings: ADAM_RATES.map(rate => [rate, { optimiser: 'adam', rate }]),
      domain: [2.2, 3.2],
      width: 250
    })
  ]
})

const overScale = (results: Results): object => ({
  title: {
    text: `Loss after 400 steps, by the scale of the initial weights`,
    subtitle: `Adam, rate ${SCALE_RATE}. Mean and range of three seeds.`
  },
  ...overSetting(results, {
    heading: '',
    xTitle: 'factor of the initial weights (logarithmic)',
    settings: SCALES.map(scale => [scale, { optimiser: 'adam', rate: SCALE_RATE, scale }]),
    domain: [2.2, 2.6],
    width: 400
  })
})

/** Points with ranges, not bars: the axis does not begin at 0. */
function batchSize({ runs }: Results): object {
  const byBatch = 'BatchNorm by batch'
  const names: string[] = normNames.map(title)
  names.splice(2, 0, byBatch)
  const values = [4, 32].flatMap(batch => [
    ...normNames.map(norm => ({
      who: normTitles[norm],
      norm: normTitles[norm],
      batch: `batch ${batch}`,
      ...batchLoss(runs, norm, batch)
    })),
    { who: byBatch, norm: normTitles.batch, batch: `batch ${batch}`, ...batchLoss(runs, 'batch', batch, true) }
  ])
  const scale = { domain: [2.3, 2.95] }
  const x = { field: 'who', type: 'nominal', sort: names, title: null, axis: { labelAngle: -35, labelLimit: 200 } }
  const color = { ...marked.color, field: 'norm', legend: null }
  const shape = { ...marked.shape, field: 'norm', legend: null }
  return {
    title: {
      text: 'Loss by the size of the batch',
      subtitle: [
        `Adam, rate ${BATCH_RATE}. Mean and range of three seeds.`,
        'Compare within a panel: at batch 4 a model sees',
        'a quarter of the text. "BatchNorm by batch": evaluated',
        'with the statistics of its batches, not running ones.'
      ]
    },
    data: { values },
    facet: { column: { field: 'batch', type: 'nominal', sort: ['batch 4', 'batch 32'], title: null } },
    spec: {
      width: 240,
      height: 260,
      layer: [
        {
          mark: { type: 'rule', strokeWidth: 4, opacity: 0.45 },
          encoding: { x, y: quantitative('min', { title: lossAxis, scale }), y2: { field: 'max' }, color }
        },
        {
          mark: { type: 'point', filled: true, size: 90, opacity: 1 },
          encoding: { x, y: quantitative('mean', { title: lossAxis, scale }), color, shape }
        }
      ]
    }
  }
}

function time(results: Results): object {
  const { norms } = (results as Required<Results>).times
  const values = normNames.flatMap(norm =>
    (['forward', 'backward'] as const).map(pass => ({ who: normTitles[norm], pass, time: norms[norm][pass] }))
  )
  const x = { field: 'who', type: 'nominal', sort: normNames.map(title), title: null, axis: { labelAngle: 0 } }
  const y = quantitative('time', { title: 'microseconds', stack: 'zero' })
  return {
    title: {
      text: 'Time of one norm of 32 x 64 numbers',
      subtitle: ['Medians. Above the bars: the part of a training step', 'that the seven norms of the model take.']
    },
    width: 360,
    height: 240,
    data: { values },
    layer: [
      {
        mark: { type: 'bar', stroke: GREY, strokeWidth: 1 },
        encoding: {
          x,
          y,
          order: { field: 'pass', sort: 'descending' },
          color: {
            field: 'pass',
            type: 'nominal',
            title: null,
            sort: ['forward', 'backward'],
            scale: { domain: ['forward', 'backward'], range: ['#e8590c', '#9cc3ff'] }
          }
        }
      },
      {
        data: {
          values: normNames.slice(1).map(norm => ({
            who: normTitles[norm],
            time: norms[norm].forward + norms[norm].backward,
            share: `${(100 * shareOf(norms[norm])).toFixed(1)} %`
          }))
        },
        mark: { type: 'text', dy: -8, color: GREY },
        encoding: { x, y, text: { field: 'share' } }
      }
    ]
  }
}

export const specs = {
  'loss-over-steps': overSteps,
  'loss-over-rate': overRate,
  'loss-over-scale': overScale,
  'batch-size': batchSize,
  positions,
  time
} as const
export type ChartName = keyof typeof specs
