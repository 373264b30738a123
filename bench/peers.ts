// The other implementations of bench/node_modules.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Ready } from '../dist/esm/cli/bench/contender.js'
import { type Ort, type OrtTensorClass, onnxruntime, type Transformers } from '../dist/esm/cli/bench/rows.js'
import { nodesOf } from './onnx.ts'
import { LRN, MOMENTUM, type Problem } from './problem.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)

export const TFJS = 'tfjs (wasm)'

export const loadOrt = (): Ort => require('onnxruntime-node')
export const loadTransformers = (): Transformers => require('@huggingface/transformers')

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

/** onnxruntime-node; nothing where ONNX has no such op. */
export async function onnx(ort: Ort, given: Problem): Promise<Map<string, Ready>> {
  const nodes = nodesOf(given)
  const { weight, bias, runningMean, runningVar } = given
  return nodes ? onnxruntime(ort, given, nodes, { weight, bias, runningMean, runningVar }) : new Map()
}

interface TfTensor {
  dataSync(): Float32Array
  dispose(): void
}
/** The operations of tfjs that are used here; all of them have kernels in the wasm backend. */
export interface Tfjs {
  readonly version_core: string
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

export async function loadTfjs(): Promise<Tfjs> {
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
 * tfjs on its wasm backend (SIMD, one thread); nothing where tfjs has no such op. x lies in wasm memory already, and the
 * result is read only when it is asked for: both copies are outside the time.
 */
export function tfjs(tf: Tfjs, given: Problem): Map<string, Ready> {
  const operands: TfTensor[] = []
  const call = tfjsCall(tf, given, (data, dims) => {
    operands.push(tf.tensor(data, dims))
    return operands[operands.length - 1]
  })
  if (!call) return new Map()
  let last: TfTensor[] = []
  const ready = {
    result: () => last[0].dataSync(),
    run() {
      for (const tensor of last) tensor.dispose()
      last = tf.tidy(call)
    },
    release() {
      for (const tensor of [...operands, ...last]) tensor.dispose()
    }
  }
  return new Map([[TFJS, ready]])
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
export const tensorClasses = (): { [name: string]: OrtTensorClass } => ({
  'transformers.js': loadTransformers().Tensor,
  'onnxruntime-node': loadOrt().Tensor
})
