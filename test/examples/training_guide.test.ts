// The guide's chapter "Why it helps training": each number in it is from docs/training/, or quoted from a paper.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BATCH_RATE, RATES, SCALE_RATE, SCALES } from '../../examples/training/experiment.ts'
import { CONTEXT, Model, WIDTH } from '../../examples/training/model.ts'
import { type NormName, normNames } from '../../examples/training/norms.ts'
import { batchTable, controlsTable, markdown, rateTable, timeTable } from '../../examples/training/report.ts'
import {
  batchLoss,
  bestCurves,
  bestRate,
  heldOut,
  largestRate,
  lastLossOfNone,
  type Results,
  type Setting,
  spreadOverScales,
  stepsToIt
} from '../../examples/training/results.ts'
import { shareOf } from '../../examples/training/times.ts'
import { root } from '../support/process.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const { runs, positions, encoder, times } = JSON.parse(read('docs/training/results.json')) as Required<Results>
const controls = (JSON.parse(read('docs/training/controls.json')) as Results).runs
const [, chapter] = /^## Why it helps training\n(.*?)^## /ms.exec(read('docs/guide.md'))!

const norms = ['batch', 'layer', 'rms', 'prms'] as const
const best = (norm: NormName, optimiser: 'sgd' | 'adam') =>
  heldOut(runs, { norm, optimiser, rate: bestRate(runs, norm, optimiser) })
const adam = (norm: NormName, rate: number) => heldOut(runs, { norm, optimiser: 'adam', rate })
const sgd = (norm: NormName, rate: number) => heldOut(runs, { norm, optimiser: 'sgd', rate })
const control = (norm: NormName, setting: Setting) => heldOut(controls, { norm, optimiser: 'sgd', ...setting }).mean
const range = (values: readonly number[], digits: number) =>
  `${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}`
const deepest = (values: readonly number[]) => values[values.length - 1].toFixed(1)
const size = (norm: NormName) => times.norms[norm].forward + times.norms[norm].backward
const saved = (of: number) => `${((100 * (size('layer') - size('rms'))) / of).toFixed(1)} %`
const branchScale = controls.find(run => run.branchScale)?.branchScale

/** What the chapter says, word for word. */
const statements = [
  `residual stream ${WIDTH} wide`,
  `(SGD), ${runs[runs.length - 1].steps} steps of ${runs[runs.length - 1].batch} windows`,
  // A larger learning rate
  `up to a rate of ${largestRate(runs, 'none', 'sgd')}, with LayerNorm and RMSNorm up to ${largestRate(runs, 'layer', 'sgd')}, with BatchNorm and pRMSNorm up to ${largestRate(runs, 'batch', 'sgd')}.`,
  `${sgd('none', 0.03).mean.toFixed(3)} against ${sgd('layer', 0.03).mean.toFixed(3)} with LayerNorm at ${largestRate(runs, 'none', 'sgd')},`,
  `at a rate of 0.001 LayerNorm is ahead, ${adam('layer', 0.001).mean.toFixed(3)} against ${adam('none', 0.001).mean.toFixed(3)}, and at ${bestRate(runs, 'none', 'adam')}, where both are at their best, it is ahead by ${(best('none', 'adam').mean - best('layer', 'adam').mean).toFixed(2)}.`,
  // So fewer steps
  `a loss of ${lastLossOfNone(runs).toFixed(2)} after ${20 * bestCurves(runs, 'none')[0].length} steps.`,
  `after ${range(
    norms.flatMap(norm => stepsToIt(runs, norm)),
    0
  )} steps, and ends with ${range(
    norms.map(norm => best('none', 'sgd').mean - best(norm, 'sgd').mean),
    2
  )} less held-out loss`,
  // Careless initial weights
  `times ${SCALES[0]}, ${SCALES[1]} or ${SCALES[2]}, trained with Adam at a rate of ${SCALE_RATE}`,
  `the loss moves by ${range(
    norms.map(norm => spreadOverScales(runs, norm, SCALES)),
    2
  )} over`,
  `nothing is learned at ${SCALES[2]}; at ${SCALES[0]} it is as good as at ${SCALES[1]},`,
  // Small batches
  `Adam at a rate of ${BATCH_RATE}:`,
  `With 32 windows in a batch BatchNorm is within ${(batchLoss(runs, 'batch', 32).mean - batchLoss(runs, 'layer', 32).mean).toFixed(2)} of LayerNorm. With 4 it`,
  `and ${(batchLoss(runs, 'batch', 4).mean - batchLoss(runs, 'layer', 4).mean).toFixed(2)} behind LayerNorm.`,
  // What the next layer sees
  `from ${positions.none.begin.stdByDepth[0].toFixed(1)} to ${deepest(positions.none.begin.stdByDepth)} in six blocks,`,
  `under LayerNorm to ${deepest(positions.layer.begin.stdByDepth)},`,
  `Over ${positions.none.begin.stream.std.length} positions it lies between ${range(positions.none.begin.stream.std, 1).replace('to', 'and')} without a norm`,
  `and is ${range(positions.layer.begin.normed.std, 2).split(' ')[0]} after LayerNorm, whose means are 0.00.`,
  `up to ${Math.max(...positions.rms.begin.normed.mean.map(Math.abs)).toFixed(2)} there.`,
  `${range(positions.layer.end.stream.std, 1)} against ${range(positions.none.end.stream.std, 1)} without`,
  `what the next layer sees, ${range(positions.layer.end.normed.std, 2)}.`,
  `to ${encoder.ulpsFromItsOwn} units in the last place`,
  `from ${range(encoder.input.std, 1)} before the last norm and ${range(encoder.layerNorm.std, 2).split(' ')[0]} after it.`,
  // LayerNorm or RMSNorm
  `by more than ${Math.max(
    ...RATES.filter(rate => rate <= largestRate(runs, 'layer', 'sgd')).map(rate =>
      Math.abs(sgd('layer', rate).mean - sgd('rms', rate).mean)
    )
  ).toFixed(3)}.`,
  `sees ${WIDTH / 16} numbers of ${WIDTH}, is ${(sgd('prms', 0.3).mean - sgd('layer', 0.3).mean).toFixed(2)} worse than LayerNorm at SGD's rate of 0.3`,
  `Of one norm of 32 x ${WIDTH} numbers RMSNorm saves ${saved(size('layer'))} of LayerNorm's time, of a step ${saved((times.norms.layer.step * size('layer')) / (7 * size('layer')))}.`,
  // What a sceptic tries instead
  `(divided by √${Math.round(1 / branchScale! ** 2)})`,
  `${(control('none', { rate: 1, clip: 1 }) - control('layer', { rate: 1, clip: 1 })).toFixed(2)} behind LayerNorm at a rate of 1.`,
  `${control('none', { rate: 0.1, branchScale }).toFixed(3)} at 0.1 against LayerNorm's ${control('layer', { rate: 0.3, branchScale }).toFixed(3)} at 0.3.`,
  `fails at every rate from ${Math.min(...controls.filter(run => run.depth === 12 && run.norm === 'none' && run.heldOut === null).map(run => run.rate))} up`,
  `lie up to ${Math.max(
    ...normNames.flatMap(norm =>
      RATES.filter(rate => rate <= largestRate(runs, norm, 'sgd')).map(
        rate => sgd(norm, rate).max - sgd(norm, rate).min
      )
    )
  ).toFixed(2)} apart`,
  // Where it does not show
  `ends with ${best('none', 'adam').mean.toFixed(3)}, the norms with ${range(
    norms.map(norm => best(norm, 'adam').mean),
    3
  )},`,
  `it fails at ${0.1}, where`,
  // What the papers report
  `the norms take ${range(
    norms.map(norm => 100 * shareOf(times.norms[norm])),
    1
  )} % of a step`,
  // With an autodiff library
  `within ${(5e-7).toExponential().replace('-0', '-')} of the largest` // TOLERANCE of tfjs.test.ts
]

describe('behaviour: the guide on training', () => {
  it('has the tables of the results, and no number that is not theirs', () => {
    let rest = chapter
      .replace(/^```.*?^```$/gms, '')
      .replace(/\]\([^)]*\)/g, '')
      .replace(/`[^`\n]*`/g, '')
    for (const table of [rateTable(runs), batchTable(runs), timeTable(times), controlsTable(controls)]) {
      expect(rest).toContain(markdown(table))
      rest = rest.replace(markdown(table), '')
    }
    // Quoted: the paper and what it reports, the first two cells of a row.
    rest = rest.replace(/^\| [^|]*\d{4}\.\d{5} \| [^|]* \|/gm, '').replace(/GPT-2/g, '')
    rest = rest.replace(/\s+/g, ' ')
    expect(statements.filter(statement => !rest.includes(statement))).toEqual([])
    for (const statement of statements) rest = rest.replace(statement, '')
    expect(rest.match(/.{0,60}\d.{0,60}/)?.[0]).toBe(undefined)
  })

  it('compares what can be compared', () => {
    // Ranges that do not touch, where it says so, and ranges that overlap, where it says equal.
    expect(sgd('none', 0.03).max).toBeLessThan(sgd('layer', 0.03).min)
    expect(adam('layer', 0.001).max).toBeLessThan(adam('none', 0.001).min)
    expect(bestRate(runs, 'layer', 'adam')).toBe(bestRate(runs, 'none', 'adam'))
    for (const norm of norms) {
      expect(best(norm, 'adam').max).toBeLessThan(best('none', 'adam').min)
      const [least, , most] = SCALES.map(
        scale => heldOut(runs, { norm, optimiser: 'adam', rate: SCALE_RATE, scale }).mean
      )
      expect(most).toBeLessThan(least)
    }
    for (const norm of ['none', 'layer', 'rms', 'prms'] as const) {
      expect(batchLoss(runs, norm, 4).max).toBeLessThan(batchLoss(runs, 'batch', 4).min)
    }
    for (const rate of RATES.filter(rate => rate <= largestRate(runs, 'layer', 'sgd'))) {
      expect(sgd('rms', rate).min).toBeLessThanOrEqual(sgd('layer', rate).max)
      expect(sgd('layer', rate).min).toBeLessThanOrEqual(sgd('rms', rate).max)
    }
    for (const norm of ['layer', 'rms'] as const) expect(largestRate(runs, norm, 'sgd')).toBe(0.3)
    for (const norm of ['batch', 'prms'] as const) expect(largestRate(runs, norm, 'sgd')).toBe(1)
    for (const norm of normNames) expect(bestCurves(runs, norm)).toHaveLength(3)
    expect(new Model({ norm: 'none', seed: 1 }).depth).toBe(6)
    expect(CONTEXT).toBe(8)
  })
})
