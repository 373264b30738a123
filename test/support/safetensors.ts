// Bytes of .safetensors files, as the format's own library writes them.

/** A tensor of a file. */
export interface Written {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data: ArrayBufferView
}

/** A file with this header: an object, or its text. */
export function withHeader(header: object | string | Uint8Array, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text =
    header instanceof Uint8Array
      ? header
      : new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const file = new Uint8Array(8 + text.length + data.length)
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true)
  file.set(text, 8)
  file.set(data, 8 + text.length)
  return file
}

/** A file of tensors, the header padded with spaces to a multiple of 8 bytes. */
export function safetensors(tensors: { readonly [name: string]: Written }): Uint8Array {
  const header: { [name: string]: object } = { __metadata__: { format: 'pt' } }
  const data: Uint8Array[] = []
  let end = 0
  for (const [name, { dtype, shape, data: view }] of Object.entries(tensors)) {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] }
    end += bytes.length
    data.push(bytes)
  }
  const text = JSON.stringify(header)
  return withHeader(text.padEnd(Math.ceil(text.length / 8) * 8), new Uint8Array(Buffer.concat(data)))
}

/** A tensor of float32. */
export const f32 = (...numbers: number[]): Written => ({
  dtype: 'F32',
  shape: [numbers.length],
  data: Float32Array.from(numbers)
})

/** A tensor of 16-bit codes. */
export const codes = (dtype: 'F16' | 'BF16', ...codes: number[]): Written => ({
  dtype,
  shape: [codes.length],
  data: Uint16Array.from(codes)
})

/** A tensor of one int64, as num_batches_tracked is. */
export const i64 = (count: bigint): Written => ({ dtype: 'I64', shape: [], data: BigInt64Array.of(count) })
