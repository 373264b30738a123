// What the charts share. Grey text and no ground: they stand on white pages and on dark ones. Norms differ in colour, dashes and markers,
// so that black and white is enough.
import { type NormName, normNames, normTitles } from './norms.ts'

export const GREY = '#7d8590'
export const config = {
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
  header: { labelColor: GREY, titleColor: GREY, labelFontSize: 11 },
  legend: { labelColor: GREY, titleColor: GREY, symbolStrokeWidth: 2, symbolSize: 90, labelLimit: 260 },
  title: { color: GREY, fontWeight: 'normal', fontSize: 13, anchor: 'start', subtitleColor: GREY }
}

export const title = (norm: NormName) => normTitles[norm]

interface Style {
  readonly colour: string
  readonly dash: readonly number[]
  readonly marker: string
}
export const styles: { readonly [norm in NormName]: Style } = {
  none: { colour: '#868e96', dash: [10, 3, 2, 3], marker: 'circle' },
  batch: { colour: '#4c8dff', dash: [10, 4], marker: 'square' },
  layer: { colour: '#e8590c', dash: [1, 0], marker: 'triangle-up' },
  rms: { colour: '#2b9348', dash: [5, 5], marker: 'diamond' },
  prms: { colour: '#a855f7', dash: [2, 3], marker: 'triangle-down' }
}

/** A channel of the names of norms, or of what `called` makes of them, that shows a property of each one's style. */
const channel = (called: (norm: NormName) => string, property: keyof Style, legend: object) => ({
  field: 'who',
  type: 'nominal',
  title: null,
  scale: { domain: normNames.map(called), range: normNames.map(norm => styles[norm][property]) },
  legend: { symbolOpacity: 1, ...legend }
})

/** Colours and dashes, with one legend of both. */
export function dashed(called: (norm: NormName) => string) {
  const legend = { symbolType: 'stroke', symbolSize: 900 }
  return { color: channel(called, 'colour', legend), strokeDash: channel(called, 'dash', legend) }
}

/** Colours and markers, with one legend of both. */
export const marked = { color: channel(title, 'colour', {}), shape: channel(title, 'marker', {}) }

/** Lines with markers, the dashes set for each line: in the legend they would tear the markers. */
export const linesAndMarkers = (x: object, y: object): object[] => [
  ...normNames.map(norm => ({
    transform: [{ filter: `datum.who === '${normTitles[norm]}'` }],
    mark: { type: 'line', strokeWidth: 2, clip: true, strokeDash: styles[norm].dash },
    encoding: { x, y, color: marked.color }
  })),
  { mark: { type: 'point', filled: true, size: 70, clip: true, opacity: 1 }, encoding: { x, y, ...marked } }
]

export const quantitative = (field: string, more: object = {}) => ({ field, type: 'quantitative', ...more })
export const lossAxis = 'held-out loss, nats per character'
