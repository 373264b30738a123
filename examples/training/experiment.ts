// What is run: by `--quick`, by the whole experiment, and as the controls of a sceptic.
import { type NormName, normNames } from './norms.ts'
import type { Run } from './train.ts'

export type Mode = 'quick' | 'whole' | 'controls'

export const RATES = [0.01, 0.03, 0.1, 0.3, 1, 3]
export const ADAM_RATES = [0.001, 0.003, 0.01, 0.03, 0.1]
export const SCALES = [0.1, 1, 10]
/** The rates of Adam at which the scale of the weights and the size of the batch are changed. */
export const SCALE_RATE = 0.03
export const BATCH_RATE = 0.003

/** Gives each of these runs to each norm and seed, so that a norm's runs have the weights and the batches of the others'. */
function each(
  norms: readonly NormName[],
  seeds: readonly number[],
  runs: readonly Omit<Run, 'norm' | 'seed'>[]
): Run[] {
  return runs.flatMap(run => norms.flatMap(norm => seeds.map(seed => ({ norm, seed, ...run }))))
}

const sgd = (rate: number) => ({ optimiser: 'sgd', rate }) as const
const adam = (rate: number) => ({ optimiser: 'adam', rate }) as const

function experiment(quick: boolean): Run[] {
  const seeds = quick ? [1] : [1, 2, 3]
  const base = quick ? { steps: 200, batch: 32, windows: 1024 } : { steps: 400, batch: 32, windows: 4096 }
  const rates = quick ? RATES.slice(1, -1) : RATES
  const adamRates = quick ? [BATCH_RATE] : ADAM_RATES
  const scales = quick ? [0.1, 10] : SCALES
  const runs = each(normNames, seeds, [
    // The longest first: then no thread waits long for the other at the end.
    { ...base, ...adam(BATCH_RATE), batch: 4, steps: 2 * base.steps, bothModes: true },
    ...adamRates.map(rate => ({ ...base, ...adam(rate), ...(rate === BATCH_RATE && { bothModes: true }) })),
    ...scales
      .filter(scale => scale !== 1 || !adamRates.includes(SCALE_RATE))
      .map(scale => ({ ...base, ...adam(SCALE_RATE), scale })),
    ...rates.map(rate => ({ ...base, ...sgd(rate) }))
  ])
  return runs.map(({ bothModes, ...run }) => ({
    ...run,
    ...(bothModes && run.norm === 'batch' && { bothModes }),
    ...(!quick && run.optimiser === 'sgd' && run.seed === 1 && { positions: true })
  }))
}

/** GPT-2 divides the last weights of each block by the root of the number of blocks: here six. */
export const CAREFUL = 0.408248

export const controls = {
  clip: [0.3, 1, 3],
  careful: [0.03, 0.1, 0.3],
  deep: [0.003, 0.01, 0.03, 0.1, 0.3],
  adam: [0.001, 0.003, 0.01, 0.1, 0.3]
}
export const controlNorms = ['none', 'batch', 'layer', 'rms'] as const

function controlRuns(): Run[] {
  const base = { steps: 400, batch: 32, windows: 4096 }
  return each(
    controlNorms,
    [1],
    [
      ...controls.deep.map(rate => ({ ...base, ...sgd(rate), depth: 12 })),
      ...controls.adam.map(rate => ({ ...base, ...adam(rate) })),
      ...controls.clip.map(rate => ({ ...base, ...sgd(rate), clip: 1 })),
      ...controls.careful.map(rate => ({ ...base, ...sgd(rate), branchScale: CAREFUL }))
    ]
  )
}

export const runsOf = (mode: Mode): Run[] => (mode === 'controls' ? controlRuns() : experiment(mode === 'quick'))

/** A short run of each norm, with which backends are compared. */
export const samples: readonly Run[] = each(
  normNames,
  [1],
  [
    { ...sgd(0.3), steps: 20, batch: 32, windows: 64 },
    { ...adam(0.003), steps: 20, batch: 4, windows: 64, bothModes: true }
  ]
)
