// The other implementations, each as one function from a problem to a candidate. They live in bench/node_modules.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { onnxModel } from './onnx.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)

/** Installs the peers where they are missing (about 500 MB). */
export function installPeers(): void {
  if (existsSync(`${folder}node_modules/onnxruntime-node`)) return
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

/** One call to be made: LayerNorm where there is a bias, RMSNorm without. */
export interface Problem {
  readonly rows: number
  readonly cols: number
  readonly x: Float32Array
  readonly weight: Float32Array
  readonly bias?: Float32Array
  readonly eps: number
}

/** A peer ready to run: `run` computes, `result` is what it computed last. */
export interface Ready {
  readonly run: () => Promise<void> | void
  readonly result: () => Float32Array
  /** What it leaves out, so that its error is measured against the right thing. */
  readonly affine: boolean
}

interface OrtTensor {
  readonly data: Float32Array
  readonly dims: readonly number[]
}
type OrtTensorClass = new (type: string, data: Float32Array, dims: number[]) => OrtTensor
interface Ort {
  Tensor: OrtTensorClass
  InferenceSession: {
    create(model: Uint8Array, options: object): Promise<{ run(feeds: object): Promise<{ y: OrtTensor }> }>
  }
}

/** onnxruntime-node, a session with one node on one thread. */
export async function onnxruntime({ rows, cols, x, weight, bias, eps }: Problem): Promise<Ready> {
  const ort: Ort = require('onnxruntime-node')
  const op = bias ? 'LayerNormalization' : 'SimplifiedLayerNormalization'
  const model = onnxModel(op, [rows, cols], bias ? { weight, bias } : { weight }, eps)
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 3
  })
  const feeds = { x: new ort.Tensor('float32', x, [rows, cols]) }
  let y = x
  return {
    affine: true,
    result: () => y,
    async run() {
      y = (await session.run(feeds)).y.data
    }
  }
}

/** transformers.js `layer_norm`, which has no weight and no bias. */
export async function transformers({ rows, cols, x, eps }: Problem): Promise<Ready> {
  const { Tensor, layer_norm } = await import(require.resolve('@huggingface/transformers'))
  const input = new Tensor('float32', x, [rows, cols])
  let y = x
  return {
    affine: false,
    result: () => y,
    run() {
      y = layer_norm(input, [cols], { eps }).data
    }
  }
}

/** The tensor classes of the peers, by name: what goes in as one is to come back as one. */
export async function tensorClasses(): Promise<{ [name: string]: OrtTensorClass }> {
  const { Tensor } = await import(require.resolve('@huggingface/transformers'))
  const ort: Ort = require('onnxruntime-node')
  return { 'transformers.js': Tensor, 'onnxruntime-node': ort.Tensor }
}
