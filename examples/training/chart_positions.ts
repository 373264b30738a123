// The chart of hidden vectors: how their mean and standard deviation move along depth and positions.
import { linesAndMarkers, quantitative } from './chart_style.ts'
import { normNames, normTitles } from './norms.ts'
import type { Results } from './results.ts'
import type { Moments } from './train.ts'

/** The standard deviation of the stream by depth, before training. */
function byDepth({ positions }: Required<Results>): object {
  const values = normNames.flatMap(norm =>
    positions[norm].begin.stdByDepth.map((std, depth) => ({ who: normTitles[norm], depth, std }))
  )
  const x = quantitative('depth', {
    title: 'blocks passed',
    scale: { domain: [-0.15, 6.15], nice: false },
    axis: { values: [0, 1, 2, 3, 4, 5, 6], format: 'd', grid: false }
  })
  const y = quantitative('std', {
    title: 'standard deviation (logarithmic)',
    scale: { type: 'log', domain: [0.8, 12], nice: false },
    axis: { values: [1, 2, 5, 10] }
  })
  return {
    title: 'Before training: spread of the residual stream over its features',
    width: 420,
    height: 220,
    data: { values },
    layer: linesAndMarkers(x, y)
  }
}

/** Mean (a line) and standard deviation (a band around it) at each position, a panel for each kind of vector. */
function overPositions(heading: string, panels: readonly [string, Moments][], limit: number): object {
  const scale = { domain: [-limit, limit] }
  return {
    title: heading,
    hconcat: panels.map(([name, { mean, std }], i) => {
      const values = mean.map((value, p) => ({
        position: p + 1,
        mean: value,
        low: value - std[p],
        high: value + std[p]
      }))
      const x = quantitative('position', {
        title: 'position',
        scale: { domain: [1, mean.length], nice: false },
        axis: { grid: false, tickCount: 4 }
      })
      const y = (field: string) =>
        quantitative(field, { scale, title: i === 0 ? 'mean ± std' : null, axis: i === 0 ? {} : { labels: false } })
      return {
        title: { text: name, fontSize: 11 },
        width: 150,
        height: 110,
        data: { values },
        layer: [
          {
            mark: { type: 'area', opacity: 0.3, color: '#4c8dff', clip: true },
            encoding: { x, y: y('low'), y2: { field: 'high' } }
          },
          { mark: { type: 'line', strokeWidth: 1.5, color: '#e8590c', clip: true }, encoding: { x, y: y('mean') } }
        ]
      }
    }),
    spacing: 12
  }
}

export function positions(results: Results): object {
  const { positions, encoder } = results as Required<Results>
  const model = (time: 'begin' | 'end'): [string, Moments][] => [
    ['no norm', positions.none[time].stream],
    ['under LayerNorm', positions.layer[time].stream],
    ['after LayerNorm', positions.layer[time].normed],
    ['after RMSNorm', positions.rms[time].normed]
  ]
  const real: [string, Moments][] = [
    ['before the norm', encoder.input],
    ['after LayerNorm', encoder.layerNorm],
    ['with its weights', encoder.withWeights],
    ['after RMSNorm', encoder.rmsNorm]
  ]
  return {
    title: {
      text: 'Mean and standard deviation of hidden vectors, over their features',
      subtitle: 'The line is the mean, the band one standard deviation to both sides.'
    },
    resolve: { scale: { color: 'independent', shape: 'independent' } },
    vconcat: [
      byDepth(results as Required<Results>),
      overPositions('Our model before training, 64 successive positions', model('begin'), 16),
      overPositions('Our model after training, each norm at its best rate', model('end'), 8),
      overPositions('A real encoder, one sentence: around its last LayerNorm', real, 8)
    ]
  }
}
