// Builds the one-node ONNX model that the benchmark and the live comparison give to onnxruntime: a few protobuf messages
// (github.com/onnx/onnx, onnx.proto).

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

/** y = op(x, weight, bias?) over the last of `dims`, with the weights in the model. */
export function onnxModel(
  op: 'LayerNormalization' | 'SimplifiedLayerNormalization',
  dims: readonly number[],
  weights: { readonly [name: string]: Float32Array },
  eps: number
): Buffer {
  const names = Object.keys(weights)
  const node = message(
    1,
    ...['x', ...names].map(name => text(1, name)),
    text(2, 'y'),
    text(4, op),
    message(5, text(1, 'epsilon'), float(2, eps), integer(20, 1)),
    message(5, text(1, 'axis'), integer(3, dims.length - 1), integer(20, 2))
  )
  const graph = message(
    7,
    node,
    text(2, op),
    ...names.map(name => initializer(name, weights[name])),
    valueInfo(11, 'x', dims),
    valueInfo(12, 'y', dims)
  )
  return Buffer.concat([integer(1, 8), graph, message(8, text(1, ''), integer(2, 17))])
}
