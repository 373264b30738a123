// Who is right on which numbers, and how far onnxruntime-node and evenkeel are from each other.

import { random } from '../dist/esm/cases/data.js'
import { ORT } from '../dist/esm/cli/bench/rows.js'
import { backend, batchNorm } from '../dist/esm/index.js'
import { type Entrant, type Field, isOurs } from './field.ts'
import { isRowOp, type Kind, MOMENTUM, type Op, type Problem, problemOf } from './problem.ts'
import type { Accuracy, Live } from './results.ts'
import { BOUND, countGroups, elementsOf, judge } from './truth.ts'

const kinds = ['N(0,1)', 'N(1e3,1)', 'N(1e4,1)', 'N(1e6,1)', 'N(0,1e20)', 'uniform +-3.3e38', 'one outlier'] as const

const quickKinds = ['N(0,1)', 'N(1e4,1)', 'N(0,1e20)'] as const

/** Small problems with about 768 elements in a group. */
const smallDims: { readonly [op in Op]: readonly number[] } = {
  layerNorm: [1, 768],
  layerNormChannels: [1, 768, 2, 2],
  rmsNorm: [1, 768],
  pRMSNorm: [1, 768],
  batchNorm: [768, 4],
  batchNormTraining: [768, 4],
  groupNorm: [1, 96, 16, 16],
  instanceNorm: [1, 2, 24, 32],
  normalize: [1, 768],
  localResponseNorm: [2, 24, 4, 4]
}

/** The errors of all implementations on each kind of numbers, or on some kinds. */
export async function accuracyOf(field: Field, op: Op, quick: boolean): Promise<Accuracy[]> {
  const found: Accuracy[] = []
  const dims = smallDims[op]
  // The peers are given the layout that they know; the numbers are the same.
  const layouts = isRowOp(op) || op === 'layerNormChannels' || dims.length === 2 ? [false] : [false, true]
  for (const kind of quick ? quickKinds : kinds) {
    const errors = new Map<string, number>()
    let sane = true
    for (const channelsLast of layouts) {
      const [n, c, ...spatial] = dims
      const given = problemOf({ op, dims: channelsLast ? [n, ...spatial, c] : dims, channelsLast }, kind, 3)
      sane &&= given.runningVar.every(Number.isFinite)
      const entrants = await field.enter('accuracy', { given, suffix: '' }, () => true)
      for (const [{ name }, error] of await field.verify(given, entrants)) {
        const column = isOurs(name) ? 'evenkeel' : name
        errors.set(column, Math.max(errors.get(column) ?? 0, error))
      }
    }
    if (!sane) continue // such statistics are no float32
    const ulps = [...errors].map(([name, error]) => [
      name,
      Number.isFinite(error) ? Number(error.toPrecision(5)) : null
    ])
    found.push({ op, dims, numbers: kind, errors: Object.fromEntries(ulps) })
  }
  await field.leave('accuracy')
  return found
}

/** Dimensions that an op may have, of ordinary size. */
function randomDims(op: Op, next: () => number): number[] {
  const upTo = (n: number) => 1 + Math.floor(next() * n)
  if (isRowOp(op)) return [upTo(40), upTo(2000)]
  if (op === 'groupNorm') return [upTo(3), 32 * upTo(4), 1 + upTo(12), 1 + upTo(12)]
  return [1 + upTo(8), upTo(64), 1 + upTo(15), 1 + upTo(15)]
}

/**
 * Our output against onnxruntime's on random shapes of ordinary numbers: two independent implementations of one
 * definition. A difference is in units in the last place of the largest element of its group. undefined where ONNX has
 * no such op. Throws where they disagree.
 */
export async function compareLive(field: Field, op: Op, shapes: number): Promise<Live | undefined> {
  const next = random(11)
  const found = { difference: 0, ours: 0, theirs: 0, statistics: 0 }
  const kind: Kind = 'N(3,0.5)'
  for (let i = 0; i < shapes; i++) {
    const given = problemOf({ op, dims: randomDims(op, next) }, kind, i)
    const entrants = await field.enter(
      'live',
      { given, suffix: '' },
      ({ name, contender }) =>
        [ORT, `function (${backend})`].includes(name) && ['onnxruntime-node', backend].includes(contender.name)
    )
    const peer = entrants.find(({ name }) => name === ORT)
    if (!peer) return undefined
    const mine = entrants.find(({ name }) => name !== ORT) as Entrant
    const [y, z] = [
      await mine.contender.result('live', mine.name, field.folder),
      await peer.contender.result('live', ORT, field.folder)
    ]
    const errorOf = judge(given)
    found.ours = Math.max(found.ours, errorOf(y))
    found.theirs = Math.max(found.theirs, errorOf(z))
    for (let group = 0; group < countGroups(given); group++) {
      let [largest, difference] = [0, 0]
      for (const j of elementsOf(given, group).at) {
        largest = Math.max(largest, Math.abs(y[j]))
        difference = Math.max(difference, Math.abs(y[j] - z[j]))
      }
      if (difference > 0) found.difference = Math.max(found.difference, difference / largest / 2 ** -23)
    }
    if (op === 'batchNormTraining') {
      const theirs = await peer.contender.statistics('live', ORT, field.folder)
      found.statistics = Math.max(found.statistics, compareStatistics(given, theirs))
    }
  }
  await field.leave('live')
  const { difference, ours, theirs, statistics } = found
  // Ordinary numbers: one pass of float32 sums at a mean of 6 deviations loses up to some hundred ULP.
  if (!(difference < 1000)) throw new Error(`${op} and onnxruntime-node disagree: ${difference} ULP`)
  if (!(ours <= BOUND[op])) throw new Error(`${op}: ${ours} ULP off`)
  if (!(statistics < 1e-4)) throw new Error(`${op} and onnxruntime-node disagree on the running statistics`)
  return { op, shapes, difference, ours, theirs, ...(op === 'batchNormTraining' && { statistics }) }
}

/** The running statistics after one step, ours by ONNX's convention (population variance) against theirs. */
function compareStatistics(given: Problem, theirs: Float32Array): number {
  const [runningMean, runningVar] = [given.runningMean.slice(), given.runningVar.slice()]
  const { x: data, dims } = given
  batchNorm({ data, dims }, { training: true, runningMean, runningVar, momentum: MOMENTUM, unbiased: false })
  let worst = 0
  for (let c = 0; c < given.channels; c++) {
    worst = Math.max(worst, Math.abs(theirs[c] / runningMean[c] - 1))
    worst = Math.max(worst, Math.abs(theirs[given.channels + c] / runningVar[c] - 1))
  }
  return worst
}
