// Records calls of the kernels, as the golden cases make them: the arguments, and the memory before and after. The
// TypeScript kernels compute. musl_host.c reads the file and says what stands where.
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'

const kinds = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array'
] // in the order of napi_typedarray_type
const largest = 40_000 // elements of a call's first array: enough for every path of a kernel

const word = value => Buffer.from(Uint32Array.of(value).buffer)

/** One call: the name, every block of memory before and after, the arguments as the addon takes them. */
function record(op, kernel, call, flattened) {
  let args
  flattened(op, (numbers, ...arrays) => {
    args = [numbers.slice(), ...arrays]
  })(call)
  const buffers = [...new Set(args.filter(ArrayBuffer.isView).map(array => array.buffer))]
  const before = buffers.map(buffer => buffer.slice(0))
  kernel(call)
  const parts = [word(op.length), Buffer.from(op), word(buffers.length)]
  for (const [i, buffer] of buffers.entries()) {
    parts.push(word(buffer.byteLength), Buffer.from(before[i]), Buffer.from(buffer.slice(0)))
  }
  parts.push(word(args.length))
  for (const arg of args) {
    if (arg === undefined) parts.push(word(0))
    else if (ArrayBuffer.isView(arg)) {
      const kind = kinds.indexOf(arg[Symbol.toStringTag])
      parts.push(word(2), word(kind), word(buffers.indexOf(arg.buffer)), word(arg.byteOffset), word(arg.length))
    } else throw new TypeError(`${op}: musl_host.c knows no argument like ${arg}`)
  }
  return Buffer.concat(parts)
}

/** Writes the calls of every op; `package` is the root of an installed evenkeel. */
export async function writeCalls(path, root) {
  const { cases, runCase } = await import(`${root}/dist/esm/cases/index.js`)
  const { kernels, ops } = await import(`${root}/dist/esm/kernels/index.js`)
  const { flattened } = await import(`${root}/dist/esm/backend/flatten.js`)
  const calls = []
  for (const op of ops) {
    const recording = {
      ...kernels,
      [op]: call => {
        if (call.x.length <= largest) calls.push(record(op, kernels[op], call, flattened))
        else kernels[op](call)
      }
    }
    for (const given of cases[op]()) runCase(op, recording, given)
  }
  // Large enough for several threads.
  const shape = { outer: 300, size: 500, inner: 1 }
  const [x, y] = [new Float32Array(150_000).map((_, i) => Math.sin(i)), new Float32Array(150_000)]
  const large = { y, x, shape, residualScale: 1, eps: 1e-5 }
  calls.push(record('layer_norm', kernels.layer_norm, large, flattened))
  const file = createWriteStream(path)
  file.write(word(calls.length))
  for (const call of calls) file.write(call)
  file.end()
  await finished(file)
  return calls.length
}
