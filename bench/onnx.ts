// The ONNX nodes that do a problem, most of them one.
import type { Attribute, Node } from '../dist/esm/cli/bench/onnx.js'
import { rowNodes } from '../dist/esm/cli/bench/rows.js'
import { GROUPS, LRN, MOMENTUM, type Problem } from './problem.ts'

/** What computes a problem, from x to y (training also to mean and variance); undefined where ONNX has no such op. */
export function nodesOf(given: Problem): readonly Node[] | undefined {
  const { op, dims, eps, channelsLast } = given
  const epsilon: Attribute = ['epsilon', eps, 'float']
  const axis: Attribute = ['axis', dims.length - 1]
  const one = (op: string, inputs: readonly string[], ...attributes: Attribute[]): readonly Node[] => [
    { op, inputs: ['x', ...inputs], outputs: ['y'], attributes }
  ]
  // ONNX knows channels first only; without positions that is channels last.
  if (channelsLast && dims.length > 2) return undefined
  switch (op) {
    case 'layerNorm':
    case 'rmsNorm':
    case 'pRMSNorm':
      return rowNodes(given)
    case 'layerNormChannels':
      return [
        { op: 'Transpose', inputs: ['x'], outputs: ['turned'], attributes: [['perm', [0, 2, 3, 1]]] },
        {
          op: 'LayerNormalization',
          inputs: ['turned', 'weight', 'bias'],
          outputs: ['normalised'],
          attributes: [epsilon, axis]
        },
        { op: 'Transpose', inputs: ['normalised'], outputs: ['y'], attributes: [['perm', [0, 3, 1, 2]]] }
      ]
    case 'batchNorm':
      return one('BatchNormalization', ['weight', 'bias', 'runningMean', 'runningVar'], epsilon)
    case 'batchNormTraining': {
      // ONNX's momentum is the weight of the old value.
      const [node] = one(
        'BatchNormalization',
        ['weight', 'bias', 'runningMean', 'runningVar'],
        epsilon,
        ['momentum', 1 - MOMENTUM, 'float'],
        ['training_mode', 1]
      )
      return [{ ...node, outputs: ['y', 'mean', 'variance'] }]
    }
    case 'groupNorm':
      return one('GroupNormalization', ['weight', 'bias'], epsilon, ['num_groups', GROUPS])
    case 'instanceNorm':
      return one('InstanceNormalization', ['weight', 'bias'], epsilon)
    case 'normalize':
      return one('LpNormalization', [], axis, ['p', 2])
    case 'localResponseNorm': {
      const { size, alpha, beta, k } = LRN
      return one('LRN', [], ['size', size], ['alpha', alpha, 'float'], ['beta', beta, 'float'], ['bias', k, 'float'])
    }
  }
}
