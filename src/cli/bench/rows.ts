// LayerNorm and RMSNorm of whole rows: this library, the plain loop, a copy, and peers that may be installed.

import type { Dtype } from '../../call/elements.js'
import {
  dequantizeEmbeddings,
  getNumThreads,
  LayerNorm,
  layerNorm,
  quantizeEmbeddings,
  RMSNorm,
  rmsNorm,
  setNumThreads
} from '../../index.js'
import type { Ready } from './contender.js'
import { type Node, onnxModel } from './onnx.js'
import { plainLayerNorm, plainRmsNorm } from './plain.js'

/** What is to be normalised. */
export interface RowProblem {
  readonly op: string
  /** [rows, columns] */
  readonly dims: readonly number[]
  readonly x: Float32Array
  readonly weight: Float32Array
  readonly bias: Float32Array
  readonly eps: number
  /** How many threads; 0: as many as an implementation takes by itself. */
  readonly threads: number
}

/** Names of candidates. */
export const PLAIN = 'plain loop'
export const ORT = 'onnxruntime-node'
export const ORT_OUT = 'onnxruntime-node, output given'
export const TRANSFORMERS = 'transformers.js (no affine)'
export const MEMCPY = 'copy (memcpy)'
export const named = (what: 'kernel' | 'function' | 'prepared layer', backend: string) => `${what} (${backend})`

export const named16 = (dtype: Dtype, backend: string) => `prepared layer, ${dtype} (${backend})`

export type Run = () => void

/** As many threads as this library takes by itself. */
const allThreads = getNumThreads()

/** A candidate that writes to `y`. */
export const into = (y: Float32Array, run: Run): Ready => ({ run, result: () => y })

/** A candidate of ours: it has to be told how many threads it may use. */
export const ours = (given: { threads: number }, y: Float32Array, run: Run): Ready => ({
  ...into(y, run),
  prepare: () => setNumThreads(given.threads || allThreads)
})

/** The calls as a user writes them, with `out`; undefined for other ops. */
export function rowCalls(given: RowProblem, out: Float32Array): { called: Run; prepared: Run } | undefined {
  const { op, x, weight, bias, eps } = given
  const size = given.dims[1]
  if (op === 'layerNorm') {
    const layer = new LayerNorm(size, { weight, bias, eps })
    const called = () => layerNorm(x, size, { weight, bias, eps, out })
    return { called, prepared: () => layer.forward(x, { out }) }
  }
  if (op === 'rmsNorm') {
    const layer = new RMSNorm(size, { weight, eps })
    const called = () => rmsNorm(x, size, { weight, eps, out })
    return { called, prepared: () => layer.forward(x, { out }) }
  }
  return undefined
}

/** The types of 16 bits, and the largest number of each. */
export const largest16: { readonly [dtype in Dtype]: number } = { float16: 65504, bfloat16: 3.38e38 }

/** Numbers rounded to a type of 16 bits, as its bits. */
function bitsOf(numbers: Float32Array, precision: Dtype): Uint16Array {
  const { buffer, byteOffset, length } = quantizeEmbeddings(numbers, numbers.length, { precision })
  return new Uint16Array(buffer as ArrayBuffer, byteOffset, length)
}
const numbersOf = (bits: Uint16Array, precision: Dtype) => dequantizeEmbeddings(bits, bits.length, { precision })

/** Numbers rounded to a type of 16 bits. */
export const rounded16 = (numbers: Float32Array, dtype: Dtype) => numbersOf(bitsOf(numbers, dtype), dtype)

/** The prepared layer on elements of 16 bits, with weights of the same type; made when it runs first. */
export function prepared16(given: RowProblem, dtype: Dtype): Ready {
  let made: { readonly out: Uint16Array; readonly run: Run } | undefined
  const run = () => {
    made ??= layer16(given, dtype)
    made.run()
  }
  return { ...ours(given, given.x, run), result: () => numbersOf(made?.out ?? new Uint16Array(0), dtype) }
}

function layer16(given: RowProblem, dtype: Dtype) {
  const { op, eps } = given
  const size = given.dims[1]
  const x = bitsOf(given.x, dtype)
  const out = new Uint16Array(x.length)
  const tensor = (numbers: Float32Array) => ({ type: dtype, data: bitsOf(numbers, dtype), dims: [size] })
  const weight = tensor(given.weight)
  const layer: { forward(x: Uint16Array, options: object): unknown } =
    op === 'layerNorm'
      ? new LayerNorm(size, { weight, bias: tensor(given.bias), eps })
      : new RMSNorm(size, { weight, eps })
  const options = { dtype, out }
  return { out, run: () => void layer.forward(x, options) }
}

export function plainRows({ op, x, dims: [rows, cols], weight, bias, eps }: RowProblem, y: Float32Array): Run {
  return op === 'layerNorm'
    ? () => plainLayerNorm(y, x, weight, bias, rows, cols, eps)
    : () => plainRmsNorm(y, x, weight, rows, cols, eps)
}

export function memcpy(x: Float32Array, y: Float32Array): Run {
  const [from, to] = [x, y].map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)
  )
  return () => void from.copy(to)
}

interface OrtTensor {
  readonly data: Float32Array
}
export type OrtTensorClass = new (type: string, data: Float32Array, dims: readonly number[]) => OrtTensor
interface Outputs {
  readonly [name: string]: OrtTensor
}
export interface Ort {
  readonly Tensor: OrtTensorClass
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<{ run(feeds: object, fetches?: object): Promise<Outputs> }>
  }
  readonly env: { readonly versions: { readonly node: string } }
}

/** A row operation in ONNX; undefined where it is none. */
export function rowNodes({ op, eps }: { op: string; eps: number }): readonly Node[] | undefined {
  const one = (op: string, ...inputs: string[]): readonly Node[] => [
    {
      op,
      inputs: ['x', ...inputs],
      outputs: ['y'],
      attributes: [
        ['epsilon', eps, 'float'],
        ['axis', 1]
      ]
    }
  ]
  if (op === 'layerNorm') return one('LayerNormalization', 'weight', 'bias')
  if (op === 'rmsNorm') return one('SimplifiedLayerNormalization', 'weight')
  return undefined
}

/** onnxruntime-node on ONNX nodes: with new outputs each time, and with outputs that it is given. */
export async function onnxruntime(
  ort: Ort,
  { x, dims, threads }: RowProblem,
  nodes: readonly Node[],
  parameters: { readonly [name: string]: Float32Array }
): Promise<Map<string, Ready>> {
  const others = nodes.flatMap(({ outputs }) => outputs).filter(name => name === 'mean' || name === 'variance')
  const channels = parameters.weight.length
  const session = await ort.InferenceSession.create(onnxModel(nodes, dims, parameters, others, channels), {
    ...(threads > 0 ? { intraOpNumThreads: threads, interOpNumThreads: 1 } : {}),
    executionMode: 'sequential',
    logSeverityLevel: 3
  })
  const feeds = { x: new ort.Tensor('float32', x, [...dims]) }
  const tensor = (length: number, dims: readonly number[]) => new ort.Tensor('float32', new Float32Array(length), dims)
  const fetches = Object.fromEntries([
    ['y', tensor(x.length, dims)],
    ...others.map(name => [name, tensor(channels, [channels])])
  ])
  const ready = (given?: object): Ready => {
    let outputs: Outputs = {}
    return {
      result: () => outputs.y.data,
      ...(others.length > 0 && { statistics: () => Float32Array.of(...outputs.mean.data, ...outputs.variance.data) }),
      litters: given === undefined && x.byteLength > 2 ** 20,
      async run() {
        outputs = given ? await session.run(feeds, given) : await session.run(feeds)
      }
    }
  }
  return new Map([
    [ORT, ready()],
    [ORT_OUT, ready(fetches)]
  ])
}

/** What is used of transformers.js. */
export interface Transformers {
  readonly Tensor: OrtTensorClass
  layer_norm(x: OrtTensor, size: readonly number[], options: { eps: number }): OrtTensor
  readonly env: { readonly version: string }
}

/** transformers.js `layer_norm`, which has neither weight nor bias. */
export function transformers(
  { Tensor, layer_norm }: Transformers,
  { op, dims, x, eps }: RowProblem
): Map<string, Ready> {
  if (op !== 'layerNorm') return new Map()
  const input = new Tensor('float32', x, dims)
  let y = x
  const run = () => {
    y = layer_norm(input, [dims[1]], { eps }).data
  }
  return new Map([[TRANSFORMERS, { run, result: () => y, affine: false, litters: x.byteLength > 2 ** 20 }]])
}
