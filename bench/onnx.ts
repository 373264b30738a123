// Builds the ONNX models that the benchmark and the live comparison give to onnxruntime, most of them of one node: a few
// protobuf messages (github.com/onnx/onnx, onnx.proto).
import { GROUPS, LRN, MOMENTUM, type Problem } from './problem.ts'

function varint(value: number): number[] {
  const out = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest]
    out.push((rest % 128) + 128)
  }
}

const field = (id: number, wire: number, ...payload: Uint8Array[]) =>
  Buffer.concat([Buffer.from(varint(id * 8 + wire)), ...payload])
const integer = (id: number, value: number) => field(id, 0, Buffer.from(varint(value)))
const message = (id: number, ...parts: Uint8Array[]) => {
  const body = Buffer.concat(parts)
  return field(id, 2, Buffer.from(varint(body.length)), body)
}
const text = (id: number, value: string) => message(id, Buffer.from(value))
const float = (id: number, value: number) => field(id, 5, Buffer.from(new Float32Array([value]).buffer))

const FLOAT = 1 // TensorProto.DataType

function valueInfo(id: number, name: string, dims: readonly number[]): Buffer {
  const shape = dims.map(dim => message(1, integer(1, dim)))
  return message(id, text(1, name), message(2, message(1, integer(1, FLOAT), message(2, ...shape))))
}

function initializer(name: string, data: Float32Array): Buffer {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return message(5, integer(1, data.length), integer(2, FLOAT), text(8, name), message(9, bytes))
}

type Attribute = readonly [name: string, value: number | readonly number[], kind?: 'float']

function attribute([name, value, kind]: Attribute): Buffer {
  if (kind === 'float') return message(5, text(1, name), float(2, value as number), integer(20, 1))
  if (typeof value === 'number') return message(5, text(1, name), integer(3, value), integer(20, 2))
  return message(5, text(1, name), ...value.map(one => integer(8, one)), integer(20, 7))
}

interface Node {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: readonly Attribute[]
}

/** What computes a problem, from x to y (training also to mean and variance); undefined where ONNX has no such op. */
function nodesOf({ op, dims, eps, channelsLast }: Problem): readonly Node[] | undefined {
  const epsilon: Attribute = ['epsilon', eps, 'float']
  const axis: Attribute = ['axis', dims.length - 1]
  const one = (op: string, inputs: readonly string[], ...attributes: Attribute[]): readonly Node[] => [
    { op, inputs: ['x', ...inputs], outputs: ['y'], attributes }
  ]
  // ONNX knows channels first only; without positions that is channels last.
  if (channelsLast && dims.length > 2) return undefined
  switch (op) {
    case 'layerNorm':
      return one('LayerNormalization', ['weight', 'bias'], epsilon, axis)
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
    case 'rmsNorm':
      return one('SimplifiedLayerNormalization', ['weight'], epsilon, axis)
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
    case 'pRMSNorm':
      return undefined
  }
}

/** The model of a problem, with its parameters inside; undefined where ONNX has no such op. */
export function onnxModel(given: Problem): Buffer | undefined {
  const { dims, weight, bias, runningMean, runningVar } = given
  const nodes = nodesOf(given)
  if (!nodes) return undefined
  const parameters: { readonly [name: string]: Float32Array } = { weight, bias, runningMean, runningVar }
  const used = Object.keys(parameters).filter(name => nodes.some(({ inputs }) => inputs.includes(name)))
  const statistics = nodes.some(({ outputs }) => outputs.includes('mean')) ? ['mean', 'variance'] : []
  const graph = message(
    7,
    ...nodes.map(({ op, inputs, outputs, attributes }) =>
      message(
        1,
        ...inputs.map(name => text(1, name)),
        ...outputs.map(name => text(2, name)),
        text(4, op),
        ...attributes.map(attribute)
      )
    ),
    text(2, given.op),
    ...used.map(name => initializer(name, parameters[name])),
    valueInfo(11, 'x', dims),
    valueInfo(12, 'y', dims),
    ...statistics.map(name => valueInfo(12, name, [weight.length]))
  )
  return Buffer.concat([integer(1, 10), graph, message(8, text(1, ''), integer(2, 21))])
}
