// evenkeel: the kernels of every backend, the public functions and the classes.
import { type Backend, tables } from '../dist/esm/backend.js'
import type { Ready } from '../dist/esm/cli/bench/contender.js'
import { named, ours, type Run, rowCalls } from '../dist/esm/cli/bench/rows.js'
import {
  BatchNorm,
  backend,
  batchNorm,
  GroupNorm,
  groupNorm,
  InstanceNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  normalize,
  RMSNorm,
  rmsNorm
} from '../dist/esm/index.js'
import { GROUPS, LRN, MOMENTUM, PARTIAL, type Problem } from './problem.ts'

/** What of ours runs on the backend of this process, by name. */
export function evenkeel(given: Problem, y: Float32Array): Map<string, Ready> {
  const table = tables.find(({ name }) => name === backend) as Backend
  const rows = rowCalls(given, y)
  const prepared = rows?.prepared ?? layerRun(given, y)
  const all = new Map([[named('kernel', backend), ours(given, y, kernelRun(table, given, y))]])
  all.set(named('function', backend), ours(given, y, rows?.called ?? functionRun(given, y)))
  if (prepared) all.set(named('prepared layer', backend), ours(given, y, prepared))
  return all
}

const none = undefined

// biome-ignore format: the calls as the kernels' parameters stand
function kernelRun({ float32: kernels }: Backend, given: Problem, y: Float32Array): Run {
  const { op, x, weight: w, bias: b, eps, samples: n, channels: c, positions: p, channelsLast: last } = given
  switch (op) {
    case 'layerNorm':
      return () => kernels.layer_norm(y, c, none, c, none, none, x, c, none, c, w, b, n, c, 1, 1, eps)
    case 'layerNormChannels':
      return () => kernels.layer_norm(y, c * p, none, c * p, none, none, x, c * p, none, c * p, w, b, n, c, p, 1, eps)
    case 'rmsNorm':
      return () => kernels.rms_norm(y, c, none, c, none, x, c, none, c, w, n, c, 1, c, 1, eps, 0)
    case 'pRMSNorm': {
      const counted = Math.ceil(c * PARTIAL)
      return () => kernels.rms_norm(y, c, none, c, none, x, c, none, c, w, n, c, 1, counted, 1, eps, 0)
    }
    case 'batchNorm': {
      const [mean, variance] = [Float64Array.from(given.runningMean), Float64Array.from(given.runningVar)]
      return () => kernels.batch_norm(y, x, mean, variance, w, b, none, n, c, 1, p, last, eps)
    }
    case 'batchNormTraining': {
      const [mean, variance] = [new Float64Array(c), new Float64Array(c)]
      return () => {
        kernels.batch_statistics(mean, variance, x, none, n, c, 1, p, last)
        kernels.batch_norm(y, x, mean, variance, w, b, none, n, c, 1, p, last, eps)
      }
    }
    case 'groupNorm':
      return () => kernels.group_norm(y, none, none, x, w, b, none, n, GROUPS, c / GROUPS, p, last, eps)
    case 'instanceNorm':
      return () => kernels.group_norm(y, none, none, x, w, b, none, n, c, 1, p, last, eps)
    case 'normalize':
      return () => kernels.normalize(y, c, none, x, c, n, c, 1, 2, 0, eps, 1)
    case 'localResponseNorm': {
      const { size, alpha, beta, k } = LRN
      const [before, behind] = [size >> 1, size - 1 - (size >> 1)]
      return () => kernels.local_response_norm(y, x, n, c, 1, p, last, before, behind, alpha / size, beta, k)
    }
  }
}

/** The call as a user writes it, with `out`. */
function functionRun(given: Problem, out: Float32Array): Run {
  const { op, x: data, dims, channels, weight, bias, eps } = given
  const layout = given.channelsLast ? 'channels-last' : 'channels-first'
  const x = { data, dims }
  switch (op) {
    case 'layerNormChannels':
      return () => layerNorm(x, { axis: 1 }, { weight, bias, eps, out })
    case 'pRMSNorm':
      return () => rmsNorm(data, channels, { weight, eps, partial: PARTIAL, out })
    case 'batchNorm': {
      const { runningMean, runningVar } = given
      return () => batchNorm(x, { runningMean, runningVar, weight, bias, eps, layout, out })
    }
    case 'batchNormTraining': {
      const [runningMean, runningVar] = [given.runningMean.slice(), given.runningVar.slice()]
      const options = { runningMean, runningVar, weight, bias, eps, momentum: MOMENTUM, training: true }
      return () => batchNorm(x, { ...options, layout, out })
    }
    case 'groupNorm':
      return () => groupNorm(x, GROUPS, { weight, bias, eps, layout, out })
    case 'instanceNorm':
      return () => instanceNorm(x, { weight, bias, eps, layout, out })
    case 'normalize':
      return () => normalize(data, channels, { eps, out })
    case 'localResponseNorm': {
      const { size, alpha, beta, k } = LRN
      return () => localResponseNorm(x, size, { alpha, beta, k, layout, out })
    }
    default:
      throw new RangeError(`no function for ${op}`)
  }
}

/** `forward` of the class, where the op has one. */
function layerRun(given: Problem, out: Float32Array): Run | undefined {
  const { op, x: data, dims, channels, weight, bias, eps, runningMean, runningVar } = given
  const layout = given.channelsLast ? 'channels-last' : 'channels-first'
  const x = { data, dims }
  switch (op) {
    case 'pRMSNorm': {
      const layer = new RMSNorm(channels, { weight, eps, partial: PARTIAL })
      return () => layer.forward(data, { out })
    }
    case 'batchNorm':
    case 'batchNormTraining': {
      const layer = new BatchNorm(channels, { weight, bias, eps, runningMean, runningVar, momentum: MOMENTUM })
      layer.train(op === 'batchNormTraining')
      return () => layer.forward(x, { layout, out })
    }
    case 'groupNorm': {
      const layer = new GroupNorm(GROUPS, channels, { weight, bias, eps })
      return () => layer.forward(x, { layout, out })
    }
    case 'instanceNorm': {
      const layer = new InstanceNorm(channels, { weight, bias, eps })
      return () => layer.forward(x, { layout, out })
    }
    default:
      return undefined
  }
}
