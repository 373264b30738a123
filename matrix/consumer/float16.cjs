// Elements of 16 bits as this runtime has them: Float16Array where it has one, else their bits. Returns the name of that kind, or
// throws where a result is of another kind or of other bits than float32's, rounded.
const bitsOf = array => [...new Uint16Array(array.buffer, array.byteOffset, array.length)].join()

exports.checkFloat16 = async ({ BatchNorm, LayerNorm, layerNorm, layerNormBackward, ...rest }) => {
  const { dequantizeEmbeddings, quantizeEmbeddings } = rest
  const Half = globalThis.Float16Array ?? Uint16Array
  const size = 77
  const numbers = Float32Array.from({ length: 12 * size }, (_, i) => Math.sin(i) * 2 ** (i % 9))
  for (const dtype of ['float16', 'bfloat16']) {
    const codes = y => bitsOf(quantizeEmbeddings(y, size, { precision: dtype }))
    const half = quantizeEmbeddings(numbers, size, { precision: dtype })
    const bits = new Uint16Array(half.buffer)
    const wide = dequantizeEmbeddings(half, size, { precision: dtype })
    // What Float16Array itself says is the measure, where there is one.
    const rounded = y => (dtype === 'float16' && globalThis.Float16Array ? bitsOf(Half.from(y)) : codes(y))
    const expected = layerNorm(wide, size)
    const check = (what, y, kind, written = rounded(expected)) => {
      const data = 'dims' in y ? y.data : y
      if (data.constructor !== kind) throw new Error(`${dtype}, ${what}: ${data.constructor.name}`)
      if (bitsOf(data) !== written) throw new Error(`${dtype}, ${what}: other bits`)
    }
    const kind = half.constructor
    if (kind !== (dtype === 'float16' ? Half : Uint16Array)) throw new Error(`${dtype}: ${kind.name}`)
    const tensor = { type: dtype, data: half, dims: [3, 4, size] }
    const layer = new LayerNorm(size)
    check('array', layerNorm(half, size, { dtype }), kind)
    check('bits', layerNorm(bits, size, { dtype }), Uint16Array)
    check('tensor', layerNorm(tensor, size), kind)
    check('layer', layer.forward(half, { dtype }), kind)
    check('forwardAsync', await layer.forwardAsync(half, { dtype }), kind)
    check('in place', layerNorm(half.slice(), size, { dtype, out: half.slice() }), kind)
    const moments = new BatchNorm(4, { training: true }).forward(tensor)
    const float32 = new BatchNorm(4, { training: true }).forward({ data: wide, dims: tensor.dims })
    check('batchNorm', moments, kind, rounded(float32.data))
    const { dx } = layerNormBackward(half, half, size, { dtype })
    check('dx', dx, kind, rounded(layerNormBackward(wide, wide, size).dx))
  }
  return Half.name
}
