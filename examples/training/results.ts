// What the runs gave, as it is kept in docs/training/, and the numbers that charts, tables and the guide take from it.
import { createHash } from 'node:crypto'
import type { Encoder } from './encoder.ts'
import { ADAM_RATES, BATCH_RATE, RATES, SCALE_RATE } from './experiment.ts'
import type { NormName } from './norms.ts'
import type { Times } from './times.ts'
import { average, type Outcome, type Positions, type Run } from './train.ts'

export interface Result extends Omit<Run, 'bothModes' | 'positions'> {
  readonly heldOut: number | null
  readonly heldOutByBatch?: number | null
  /** The training loss: means over 20 steps. */
  readonly curve?: readonly number[]
}

export interface Results {
  /** What makes them again. */
  readonly command: string
  /** sha256 of the losses of all steps: the same on every machine. */
  readonly losses: string
  readonly runs: readonly Result[]
  /** Of seed 1, at each norm's best rate. */
  readonly positions?: { readonly [norm in NormName]: { readonly begin: Positions; readonly end: Positions } }
  readonly encoder?: Encoder
  readonly times?: Times
}

export const CURVE_STEPS = 20
/** Results as they are kept: six digits of each number. */
export const asKept = <T>(results: T): T =>
  JSON.parse(JSON.stringify(results, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value)))

/** One run's, without what only some tables need. */
export function resultOf({ bothModes: _, positions: __, ...run }: Run, outcome: Outcome): Result {
  const { heldOut, heldOutByBatch, losses } = outcome
  const means = Array.from({ length: Math.floor(losses.length / CURVE_STEPS) }, (_, i) =>
    average([...losses.subarray(i * CURVE_STEPS, (i + 1) * CURVE_STEPS)])
  )
  const curve = run.optimiser === 'sgd' && heldOut !== null && { curve: means }
  return { ...run, heldOut, ...(heldOutByBatch !== undefined && { heldOutByBatch }), ...curve }
}

/** sha256 of all losses and held-out losses. */
export function hashOf(outcomes: readonly Outcome[]): string {
  const hash = createHash('sha256')
  for (const { losses, heldOut, heldOutByBatch = null } of outcomes) {
    hash.update(losses).update(Float64Array.of(heldOut ?? -1, heldOutByBatch ?? -1))
  }
  return hash.digest('hex')
}

export interface Summary {
  readonly mean: number
  readonly min: number
  readonly max: number
  /** How many seeds diverged, of how many. Where any did, the numbers are those of the others. */
  readonly diverged: number
  readonly count: number
}

export function summarise(values: readonly (number | null)[]): Summary {
  const finite = values.filter(value => value !== null)
  const [min, max] = [Math.min(...finite), Math.max(...finite)]
  return { mean: average(finite), min, max, diverged: values.length - finite.length, count: values.length }
}

export type Setting = Partial<
  Pick<Result, 'norm' | 'optimiser' | 'rate' | 'batch' | 'scale' | 'depth' | 'clip' | 'branchScale'>
>
const standard: Setting = { batch: 32, scale: 1, depth: 6, clip: undefined, branchScale: 1 }

/** The runs with these settings; what is not said is as in the standard run. */
export function select(runs: readonly Result[], setting: Setting): Result[] {
  const wanted = Object.entries({ ...standard, ...setting }) as [keyof Setting, unknown][]
  return runs.filter(run => wanted.every(([key, value]) => (run[key] ?? standard[key]) === value))
}

export const heldOut = (runs: readonly Result[], setting: Setting) =>
  summarise(select(runs, setting).map(run => run.heldOut))

/** Rates of an optimiser at which there are runs. */
export const ratesOf = (runs: readonly Result[], optimiser: 'sgd' | 'adam') =>
  (optimiser === 'sgd' ? RATES : ADAM_RATES).filter(rate => select(runs, { optimiser, rate }).length > 0)

/** The rate with the lowest mean, of those at which every seed trains. */
export function bestRate(runs: readonly Result[], norm: NormName, optimiser: 'sgd' | 'adam'): number {
  const rates = ratesOf(runs, optimiser).filter(rate => heldOut(runs, { norm, optimiser, rate }).diverged === 0)
  const means = rates.map(rate => heldOut(runs, { norm, optimiser, rate }).mean)
  return rates[means.indexOf(Math.min(...means))]
}

/** The largest rate at which every seed trains. */
export const largestRate = (runs: readonly Result[], norm: NormName, optimiser: 'sgd' | 'adam') =>
  Math.max(...ratesOf(runs, optimiser).filter(rate => heldOut(runs, { norm, optimiser, rate }).diverged === 0))

/** The curves of all seeds at a norm's best rate of SGD. */
export const bestCurves = (runs: readonly Result[], norm: NormName) =>
  select(runs, { norm, optimiser: 'sgd', rate: bestRate(runs, norm, 'sgd') }).map(({ curve }) => curve ?? [])

/** The training loss that no norm ends with, at its best rate: a mean over seeds, of the last 20 steps. */
export const lastLossOfNone = (runs: readonly Result[]) =>
  average(bestCurves(runs, 'none').map(curve => curve[curve.length - 1]))

/** After how many steps each seed of a norm is at that loss, or below it. */
export function stepsToIt(runs: readonly Result[], norm: NormName): number[] {
  const last = lastLossOfNone(runs)
  return bestCurves(runs, norm).map(curve => CURVE_STEPS * (1 + curve.findIndex(loss => loss <= last)))
}

/** How far a norm's mean moves between scales of the initial weights at which every seed trains. */
export function spreadOverScales(runs: readonly Result[], norm: NormName, scales: readonly number[]): number {
  const means = scales.map(scale => heldOut(runs, { norm, optimiser: 'adam', rate: SCALE_RATE, scale }).mean)
  return Math.max(...means) - Math.min(...means)
}

/** BatchNorm's loss by running statistics, or by those of its batches. */
export const batchLoss = (runs: readonly Result[], norm: NormName, batch: number, byBatch = false) =>
  summarise(
    select(runs, { norm, optimiser: 'adam', rate: BATCH_RATE, batch }).map(run =>
      byBatch ? (run.heldOutByBatch ?? null) : run.heldOut
    )
  )

/** JSON with a line for each object or array that holds no other. */
export const textOf = (results: Results) =>
  `${JSON.stringify(results, null, 1)
    .replace(/\[[^[\]{}]*\]/g, one => one.replace(/\s*\n\s*/g, ' '))
    .replace(/\{[^{}]*\}/g, one => one.replace(/\s*\n\s*/g, ' '))}\n`
