// The process of one contender of gradients.ts. usage: gradients_process.ts evenkeel|plain
import { type Ready, serve } from '../dist/esm/cli/bench/contender.js'
import { PLAIN, type Run } from '../dist/esm/cli/bench/rows.js'
import { BatchNorm, backend, GroupNorm, LayerNorm, RMSNorm, setNumThreads } from '../dist/esm/index.js'
import { VERSION } from '../dist/esm/version.js'
import { copies, sums } from './copies.ts'
import { plainBackward } from './gradients_plain.ts'
import { BACKWARD, BOTH, countGroups, type GradientProblem, hasMean, onThreads } from './gradients_problem.ts'
import { GROUPS } from './problem.ts'

/** Takes results, one behind the other. They are gone then: the next run has to write them itself. */
function taker(arrays: readonly (Float32Array | Float64Array)[]): () => Float32Array {
  const all = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0))
  return () => {
    let at = 0
    for (const array of arrays) {
      all.set(array, at)
      at += array.length
      array.fill(Number.NaN)
    }
    return all
  }
}

/** Where results go. */
interface Places {
  readonly y: Float32Array
  readonly dx: Float32Array
  readonly dweight: Float32Array
  readonly dbias: Float32Array
}

interface Layer {
  /** Keeps its statistics. */
  readonly forward: Run
  /** Takes those that were kept. */
  readonly backward: Run
}

/** The layer as a training loop calls it: with places for all results. */
function layerOf(given: GradientProblem, { y: out, dx, dweight, dbias }: Places): Layer {
  const { op, dims, x: data, dy, channels, weight, bias, eps, channelsLast } = given
  const groups = countGroups(given)
  const [mean, rstd] = [new Float64Array(groups), new Float64Array(groups)]
  const layout = channelsLast ? 'channels-last' : 'channels-first'
  const x = { data, dims }
  switch (op) {
    case 'layerNorm': {
      const layer = new LayerNorm(channels, { weight, bias, eps })
      return {
        forward: () => layer.forward(data, { out, mean, rstd }),
        backward: () => layer.backward(dy, data, { dx, dweight, dbias, mean, rstd })
      }
    }
    case 'rmsNorm': {
      const layer = new RMSNorm(channels, { weight, eps })
      return {
        forward: () => layer.forward(data, { out, rstd }),
        backward: () => layer.backward(dy, data, { dx, dweight, rstd })
      }
    }
    case 'groupNorm': {
      const layer = new GroupNorm(GROUPS, channels, { weight, bias, eps })
      return {
        forward: () => layer.forward(x, { layout, out, mean, rstd }),
        backward: () => layer.backward(dy, x, { layout, dx, dweight, dbias, mean, rstd })
      }
    }
    case 'batchNormTraining': {
      const layer = new BatchNorm(channels, { weight, bias, eps })
      return {
        forward: () => layer.forward(x, { layout, out, mean, rstd }),
        backward: () => layer.backward(dy, x, { layout, dx, dweight, dbias, mean, rstd })
      }
    }
  }
}

function evenkeel(given: GradientProblem): Map<string, Ready> {
  const { op, x, channels } = given
  const [y, dx] = [new Float32Array(x.length), new Float32Array(x.length)]
  const [dweight, dbias] = [new Float32Array(channels), new Float32Array(channels)]
  const { forward, backward } = layerOf(given, { y, dx, dweight, dbias })
  forward() // for its statistics
  const both = () => {
    forward()
    backward()
  }
  const result = taker(hasMean(op) ? [dx, dweight, dbias] : [dx, dweight])
  const all = new Map([...copies(x, dx), ...sums(x, given.dy, dx)])
  const add = (name: string, run: Run, threads = 1) =>
    all.set(onThreads(name, threads), { run, prepare: () => setNumThreads(threads), result })
  add(BACKWARD, backward)
  add(BOTH, both)
  if (backend !== 'js') add(BOTH, both, 2)
  return all
}

function plainLoops(given: GradientProblem): Map<string, Ready> {
  const { op, x, channels } = given
  const dx = new Float32Array(x.length)
  const [dweight, dbias] = [new Float64Array(channels), new Float64Array(channels)]
  const result = taker(hasMean(op) ? [dx, dweight, dbias] : [dx, dweight])
  return new Map([[BACKWARD, { run: plainBackward(given, { dx, dweight, dbias }), result }]])
}

const which = process.argv[2]
if (which === PLAIN) await serve(async (given: GradientProblem) => plainLoops(given), `V8 ${process.versions.v8}`)
else await serve(async (given: GradientProblem) => evenkeel(given), VERSION)
