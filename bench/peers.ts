// The other implementations, each as one function from a problem to a candidate. They live in bench/node_modules.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { onnxModel } from './onnx.ts'
import { LRN, MOMENTUM, type Problem } from './problem.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)

/** Installs the peers where they are missing (about 500 MB). */
export function installPeers(): void {
  const { dependencies } = require('./package.json')
  if (Object.keys(dependencies).every(name => existsSync(`${folder}node_modules/${name}`))) return
  console.log('installing the peers in bench/ (once, about 500 MB)')
  const npm = process.env.npm_execpath
  const [command, args] = npm ? [process.execPath, [npm, 'ci']] : ['npm', ['ci']]
  // npm hands its settings down as variables; the peers' own .npmrc is to count.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(config|package)_local/.test(name))
  )
  const result = spawnSync(command, args, { cwd: folder, stdio: 'inherit', env, shell: process.platform === 'win32' })
  if (result.status !== 0) throw new Error(`npm ci in bench/ ended with ${result.status}`)
}

/** An implementation ready to run: `run` computes, `result` is what it computed last. */
export interface Ready {
  readonly run: () => Promise<void> | void
  readonly result: () => Float32Array
  /** What it leaves out, so that its error is measured against the right thing. */
  readonly affine: boolean
  /** The running statistics that training gave last. */
  readonly statistics?: () => { mean: Float32Array; variance: Float32Array }
  /** Gives back memory that no garbage collector sees. */
  readonly release?: () => void
}

interface OrtTensor {
  readonly data: Float32Array
  readonly dims: readonly number[]
}
type OrtTensorClass = new (type: string, data: Float32Array, dims: number[]) => OrtTensor
interface Ort {
  Tensor: OrtTensorClass
  InferenceSession: {
    create(model: Uint8Array, options: object): Promise<{ run(feeds: object): Promise<{ [name: string]: OrtTensor }> }>
  }
}

/** onnxruntime-node, a session on one thread; undefined where ONNX has no such op. */
export async function onnxruntime(given: Problem): Promise<Ready | undefined> {
  const ort: Ort = require('onnxruntime-node')
  const model = onnxModel(given)
  if (!model) return undefined
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 3
  })
  const feeds = { x: new ort.Tensor('float32', given.x, [...given.dims]) }
  let outputs: { [name: string]: OrtTensor } = {}
  return {
    affine: true,
    result: () => outputs.y.data,
    statistics: () => ({ mean: outputs.mean.data, variance: outputs.variance.data }),
    async run() {
      outputs = await session.run(feeds)
    }
  }
}

/** transformers.js `layer_norm`, which has no weight and no bias. */
export async function transformers({ op, dims, x, eps }: Problem): Promise<Ready | undefined> {
  if (op !== 'layerNorm') return undefined
  const { Tensor, layer_norm } = await import(require.resolve('@huggingface/transformers'))
  const input = new Tensor('float32', x, dims)
  let y = x
  return {
    affine: false,
    result: () => y,
    run() {
      y = layer_norm(input, [dims[1]], { eps }).data
    }
  }
}

interface TfTensor {
  dataSync(): Float32Array
  dispose(): void
}
/** The operations of tfjs that are used here; all of them have kernels in the wasm backend. */
interface Tfjs {
  setBackend(name: string): Promise<boolean>
  ready(): Promise<void>
  tidy<T>(work: () => T): T
  tensor(data: Float32Array, dims?: readonly number[]): TfTensor
  moments(x: TfTensor, axes: number[]): { mean: TfTensor; variance: TfTensor }
  batchNorm(x: TfTensor, mean: TfTensor, variance: TfTensor, offset: TfTensor, scale: TfTensor, eps: number): TfTensor
  localResponseNormalization(x: TfTensor, radius: number, bias: number, alpha: number, beta: number): TfTensor
  add(a: TfTensor, b: TfTensor): TfTensor
  mul(a: TfTensor, b: TfTensor | number): TfTensor
  div(a: TfTensor, b: TfTensor): TfTensor
  maximum(a: TfTensor, b: number): TfTensor
  square(x: TfTensor): TfTensor
  sqrt(x: TfTensor): TfTensor
  sum(x: TfTensor, axis: number, keepDims: boolean): TfTensor
}

let loaded: Promise<Tfjs> | undefined

async function loadTfjs(): Promise<Tfjs> {
  const events = ['uncaughtException', 'unhandledRejection'] as const
  const before = events.map(event => process.listeners(event as 'uncaughtException'))
  const tf: Tfjs = require('@tensorflow/tfjs-core')
  require('@tensorflow/tfjs-backend-wasm').setThreadsCount(1)
  if (!(await tf.setBackend('wasm'))) throw new Error('the wasm backend of tfjs does not start')
  await tf.ready()
  // Its handlers rethrow every error from a source line of 60,000 characters, which Node.js then prints.
  events.forEach((event, i) => {
    for (const listener of process.listeners(event as 'uncaughtException'))
      if (!before[i].includes(listener)) process.off(event, listener)
  })
  return tf
}

/**
 * tfjs on its wasm backend (SIMD, one thread); undefined where tfjs has no such op. x lies in wasm memory already, and the
 * result is read only when it is asked for: both copies are outside the time.
 */
export async function tfjs(given: Problem): Promise<Ready | undefined> {
  loaded ??= loadTfjs()
  const tf = await loaded
  const operands: TfTensor[] = []
  const call = tfjsCall(tf, given, (data, dims) => {
    operands.push(tf.tensor(data, dims))
    return operands[operands.length - 1]
  })
  if (!call) return undefined
  let last: TfTensor[] = []
  return {
    affine: true,
    result: () => last[0].dataSync(),
    run() {
      for (const tensor of last) tensor.dispose()
      last = tf.tidy(call)
    },
    release() {
      for (const tensor of [...operands, ...last]) tensor.dispose()
    }
  }
}

/** The call: what it gives, the result first. */
function tfjsCall(tf: Tfjs, given: Problem, tensor: Tfjs['tensor']): (() => TfTensor[]) | undefined {
  const { op, dims, positions, channelsLast, eps } = given
  // tfjs knows channels last only; without positions that is channels first.
  if (!channelsLast && positions > 1) return undefined
  if (op === 'batchNorm' || op === 'batchNormTraining') {
    const [x, scale, offset] = [tensor(given.x, dims), tensor(given.weight), tensor(given.bias)]
    const [runningMean, runningVar] = [tensor(given.runningMean), tensor(given.runningVar)]
    if (op === 'batchNorm') return () => [tf.batchNorm(x, runningMean, runningVar, offset, scale, eps)]
    const axes = dims.slice(0, -1).map((_, axis) => axis)
    return () => {
      const { mean, variance } = tf.moments(x, axes)
      const moved = (running: TfTensor, value: TfTensor) =>
        tf.add(tf.mul(running, 1 - MOMENTUM), tf.mul(value, MOMENTUM))
      const y = tf.batchNorm(x, mean, variance, offset, scale, eps)
      return [y, moved(runningMean, mean), moved(runningVar, variance)]
    }
  }
  if (op === 'normalize') {
    const x = tensor(given.x, dims)
    return () => [tf.div(x, tf.sqrt(tf.maximum(tf.sum(tf.square(x), -1, true), eps * eps)))]
  }
  if (op === 'localResponseNorm') {
    const { size, alpha, beta, k } = LRN
    const x = tensor(given.x, dims)
    return () => [tf.localResponseNormalization(x, size >> 1, k, alpha / size, beta)]
  }
  return undefined
}

/** The tensor classes of the peers, by name: what goes in as one is to come back as one. */
export async function tensorClasses(): Promise<{ [name: string]: OrtTensorClass }> {
  const { Tensor } = await import(require.resolve('@huggingface/transformers'))
  const ort: Ort = require('onnxruntime-node')
  return { 'transformers.js': Tensor, 'onnxruntime-node': ort.Tensor }
}
