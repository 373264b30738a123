// evenkeel: the kernels of every backend, the public functions and the classes.
import { tables } from '../dist/esm/backend/choice.js'
import type { Backend } from '../dist/esm/backend/types.js'
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

/** The kernel itself, called with operands by name. */
function kernelRun({ float32: kernels }: Backend, given: Problem, y: Float32Array): Run {
  const { op, x, weight, bias, eps, samples, channels, positions, channelsLast } = given
  const rows = { outer: samples, size: channels, inner: op === 'layerNormChannels' ? positions : 1 }
  const volume = { samples, groups: channels, channelsPerGroup: 1, positions, channelsLast }
  const absent = { sum: undefined, mean: undefined, rstd: undefined, norm: undefined, residual: undefined }
  const operands = { ...absent, y, x, weight, bias, eps, residualScale: 1 }
  switch (op) {
    case 'layerNorm':
    case 'layerNormChannels': {
      const call = { ...operands, shape: rows }
      return () => kernels.layer_norm(call)
    }
    case 'rmsNorm':
    case 'pRMSNorm': {
      const counted = op === 'rmsNorm' ? channels : Math.ceil(channels * PARTIAL)
      const call = { ...operands, shape: rows, counted, weightOffset: 0 }
      return () => kernels.rms_norm(call)
    }
    case 'batchNorm': {
      const [mean, variance] = [Float64Array.from(given.runningMean), Float64Array.from(given.runningVar)]
      const call = { ...operands, mean, variance, shape: volume }
      return () => kernels.batch_norm(call)
    }
    case 'batchNormTraining': {
      const [mean, variance] = [new Float64Array(channels), new Float64Array(channels)]
      const call = { ...operands, mean, variance, shape: volume }
      return () => {
        kernels.batch_statistics(call)
        kernels.batch_norm(call)
      }
    }
    case 'groupNorm': {
      const call = { ...operands, shape: { ...volume, groups: GROUPS, channelsPerGroup: channels / GROUPS } }
      return () => kernels.group_norm(call)
    }
    case 'instanceNorm': {
      const call = { ...operands, shape: volume }
      return () => kernels.group_norm(call)
    }
    case 'normalize': {
      const call = { ...operands, shape: rows, p: 2, rule: 0, factor: 1 }
      return () => kernels.normalize(call)
    }
    case 'localResponseNorm': {
      const { size, alpha, beta, k } = LRN
      const [before, behind] = [size >> 1, size - 1 - (size >> 1)]
      const call = { y, x, shape: volume, before, behind, alpha: alpha / size, beta, k }
      return () => kernels.local_response_norm(call)
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
