// The results as tables, for the terminal and for the guide.
import { ADAM_RATES, CAREFUL, controlNorms, controls, RATES, SCALE_RATE, SCALES } from './experiment.ts'
import { type NormName, normNames, normTitles } from './norms.ts'
import { batchLoss, heldOut, type Result, ratesOf, type Setting, type Summary, select, stepsToIt } from './results.ts'
import { NORMS, shareOf, type Times } from './times.ts'

export interface Table {
  readonly title: string
  readonly heads: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** A loss, or how many seeds diverged: never a mean of those that are left. */
export function cellOf({ mean, min, max, diverged, count }: Summary): string {
  if (count === 0) return ''
  if (diverged > 0) return diverged === count ? 'diverged' : `${diverged} of ${count} diverged`
  return count === 1 ? mean.toFixed(3) : `${mean.toFixed(3)} [${min.toFixed(2)}, ${max.toFixed(2)}]`
}

/** A row for each norm, a column for each setting. */
function lossTable(
  runs: readonly Result[],
  title: string,
  columns: readonly { head: string; setting: Setting }[],
  norms: readonly NormName[] = normNames
): Table {
  const some = columns.filter(({ setting }) => select(runs, setting).length > 0)
  const rows = norms.map(norm => [
    normTitles[norm],
    ...some.map(({ setting }) => cellOf(heldOut(runs, { norm, ...setting })))
  ])
  return { title, heads: ['', ...some.map(({ head }) => head)], rows }
}

const rateColumns = (optimiser: 'sgd' | 'adam', rates: readonly number[]) =>
  rates.map(rate => ({ head: String(rate), setting: { optimiser, rate } }))

export const rateTable = (runs: readonly Result[]) =>
  lossTable(runs, 'SGD: loss on held-out text, by learning rate', rateColumns('sgd', RATES))

export const adamTable = (runs: readonly Result[]) => lossTable(runs, 'Adam: the same', rateColumns('adam', ADAM_RATES))

export const scaleTable = (runs: readonly Result[]) =>
  lossTable(
    runs,
    `Adam, rate ${SCALE_RATE}: the same, by the scale of the initial weights`,
    SCALES.map(scale => ({ head: `x ${scale}`, setting: { optimiser: 'adam', rate: SCALE_RATE, scale } }))
  )

export function batchTable(runs: readonly Result[]): Table {
  const cells = (norm: NormName, byBatch: boolean) =>
    [4, 32].map(batch => cellOf(batchLoss(runs, norm, batch, byBatch)))
  const rows = normNames.map(norm => [normTitles[norm], ...cells(norm, false)])
  rows.splice(2, 0, ['BatchNorm, by the statistics of its batches', ...cells('batch', true)])
  return { title: 'Adam, rate 0.003: the same, by the size of the batch', heads: ['', 'batch 4', 'batch 32'], rows }
}

export function stepsTable(runs: readonly Result[]): Table {
  const rows = normNames.slice(1).map(norm => [normTitles[norm], stepsToIt(runs, norm).join(' ')])
  return {
    title: 'Each at its best rate: steps until the training loss is that with which no norm ends, by seed',
    heads: ['', 'steps'],
    rows
  }
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

export function timeTable({ norms }: Times): Table {
  return {
    title: `Microseconds: one norm of 32 x 64 numbers, a whole step, and the part of it that the ${NORMS} norms take`,
    heads: ['', 'forward', 'backward', 'step', 'part of it'],
    rows: normNames.map(name => {
      const { forward, backward, step } = norms[name]
      return [
        normTitles[name],
        forward.toFixed(1),
        backward.toFixed(1),
        step.toFixed(0),
        name === 'none' ? '' : percent(shareOf(norms[name]))
      ]
    })
  }
}

const named = (prefix: string, rates: readonly number[], setting: Omit<Setting, 'rate'>) =>
  rates.map(rate => ({ head: `${prefix} ${rate}`, setting: { ...setting, rate } }))

/** The controls: norms across, because there are more settings. */
export function controlsTable(runs: readonly Result[]): Table {
  const rows = [
    ...named('SGD, gradients cut to norm 1, rate', controls.clip, { optimiser: 'sgd', clip: 1 }),
    ...named("SGD, GPT-2's smaller last weights, rate", controls.careful, { optimiser: 'sgd', branchScale: CAREFUL }),
    ...named('SGD, twelve blocks, rate', controls.deep, { optimiser: 'sgd', depth: 12 }),
    ...named('Adam, rate', controls.adam, { optimiser: 'adam' })
  ]
  return {
    title: 'Controls: loss on held-out text, one seed',
    heads: ['', ...controlNorms.map(norm => normTitles[norm])],
    rows: rows.map(({ head, setting }) => [
      head,
      ...controlNorms.map(norm => cellOf(heldOut(runs, { norm, ...setting })))
    ])
  }
}

export const tablesOf = (runs: readonly Result[]): Table[] =>
  runs.some(({ clip }) => clip)
    ? [controlsTable(runs)]
    : [
        rateTable(runs),
        stepsTable(runs),
        ...(ratesOf(runs, 'adam').length > 1 ? [adamTable(runs)] : []),
        scaleTable(runs),
        batchTable(runs)
      ]

/** A table as the guide has it. */
export const markdown = ({ heads, rows }: Table) =>
  [heads, heads.map((_, i) => (i === 0 ? '---' : '--:')), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
