// Builds models for onnxruntime: a few protobuf messages (github.com/onnx/onnx, onnx.proto).

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

// TensorProto.DataType
const FLOAT = 1
const types = { float32: FLOAT, float16: 10 } as const

function valueInfo(id: number, name: string, dims: readonly number[], type = FLOAT): Buffer {
  const shape = dims.map(dim => message(1, integer(1, dim)))
  return message(id, text(1, name), message(2, message(1, integer(1, type), message(2, ...shape))))
}

function initializer(name: string, data: Float32Array): Buffer {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return message(5, integer(1, data.length), integer(2, FLOAT), text(8, name), message(9, bytes))
}

export type Attribute = readonly [name: string, value: number | readonly number[], kind?: 'float']

function attribute([name, value, kind]: Attribute): Buffer {
  if (kind === 'float') return message(5, text(1, name), float(2, value as number), integer(20, 1))
  if (typeof value === 'number') return message(5, text(1, name), integer(3, value), integer(20, 2))
  return message(5, text(1, name), ...value.map(one => integer(8, one)), integer(20, 7))
}

export interface Node {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: readonly Attribute[]
}

/**
 * The model of nodes that go from x to y, both of these dimensions, and to `others`, of one element per channel; with
 * the parameters that they use inside. `elements` are the types of x and y.
 */
export function onnxModel(
  nodes: readonly Node[],
  dims: readonly number[],
  parameters: { readonly [name: string]: Float32Array },
  others: readonly string[],
  channels: number,
  elements: { readonly x: keyof typeof types; readonly y: keyof typeof types } = { x: 'float32', y: 'float32' }
): Buffer {
  const used = Object.keys(parameters).filter(name => nodes.some(({ inputs }) => inputs.includes(name)))
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
    text(2, 'normalise'),
    ...used.map(name => initializer(name, parameters[name])),
    valueInfo(11, 'x', dims, types[elements.x]),
    valueInfo(12, 'y', dims, types[elements.y]),
    ...others.map(name => valueInfo(12, name, [channels]))
  )
  return Buffer.concat([integer(1, 10), graph, message(8, text(1, ''), integer(2, 21))])
}
