// Pieces of Markdown tables.
import { thousands } from './targets.ts'

export const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`
export const head = (first: string, ...others: string[]) => [
  row(first, ...others),
  row('---', ...others.map(() => '--:'))
]
export const number = (value: number) =>
  Number.isFinite(value) ? (Math.abs(value) < 10 ? value.toFixed(1) : thousands(value)) : ''
export const times = (value: number) =>
  Number.isFinite(value) ? `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)}x` : ''
export const ulps = (value: number | null | undefined) =>
  value === undefined ? '' : value === null ? 'NaN or Inf' : value < 1000 ? value.toFixed(2) : value.toExponential(1)
export const shapeOf = ({ dims, channelsLast }: { dims: readonly number[]; channelsLast?: boolean }) =>
  dims.length === 2 ? dims.map(thousands).join(' x ') : `[${dims.join(', ')}]${channelsLast ? ' channels last' : ''}`
