// Calls of forwardAsync held against forward: every layer and option, in every kind of memory. It runs on the backend that
// EVENKEEL_BACKEND names, so that a process for each can be asked.
import { Tensor } from 'onnxruntime-common'
import { fill, firstDifference, normal, ordinaryWeights, random } from '../../dist/esm/cases/data.js'
import {
  BatchNorm,
  batchStatistics,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  type Operand,
  RMSNorm
} from '../../dist/esm/index.js'
import type { Statistic } from '../../dist/esm/kernels/operands.js'

type Options = { [name: string]: unknown }

export interface AnyLayer {
  // biome-ignore lint/suspicious/noExplicitAny: layers of every kind
  forward(x: any, options?: any): any
  // biome-ignore lint/suspicious/noExplicitAny: layers of every kind
  forwardAsync(x: any, options?: any): Promise<any>
}

/** Gives arrays their memory. */
type Memory = <A extends Statistic>(array: A) => A

/** One call: a new layer, x and options, with all arrays of the caller's through `memory`. */
interface Later {
  readonly name: string
  make(memory: Memory): { layer: AnyLayer; x: Operand; options: Options }
}

const plain: Memory = array => array
const shared: Memory = array => {
  const Class = array.constructor as new (buffer: SharedArrayBuffer) => typeof array
  const copy = new Class(new SharedArrayBuffer(array.byteLength))
  copy.set(array)
  return copy
}
/** In the middle of a buffer. */
const inside: Memory = array => {
  const Class = array.constructor as new (length: number) => typeof array
  const all = new Class(array.length + 20)
  const part = all.subarray(7, 7 + array.length) as typeof array
  part.set(array)
  return part
}

const f32 = (n: number, seed: number) => fill(normal, n, seed)
const holes = (n: number, seed: number) => {
  const next = random(seed)
  return Array.from({ length: n }, () => next() < 0.7)
}

function rowCalls(): Later[] {
  const [d, rows] = [40, 24]
  const weight = fill(ordinaryWeights, d, 1)
  const bias = f32(d, 2)
  const layers: { [name: string]: () => AnyLayer } = {
    LayerNorm: () => new LayerNorm(d, { weight, bias }),
    'LayerNorm without weights': () => new LayerNorm([5, 8], { eps: 0.5 }),
    RMSNorm: () => new RMSNorm(d, { weight, weightOffset: 1 }),
    'RMSNorm, partial': () => new RMSNorm(d, { weight, partial: 0.3 })
  }
  const statistics = (Class: Float32ArrayConstructor | Float64ArrayConstructor, mean: boolean, memory: Memory) => ({
    rstd: memory(new Class(rows)),
    ...(mean ? { mean: memory(new Class(rows)) } : {})
  })
  return Object.entries(layers).flatMap(([layerName, layer]) => {
    const mean = layerName.startsWith('LayerNorm')
    const dims = layerName.endsWith('weights') ? [rows, 5, 8] : [rows, d]
    const kept = () => ({ lengths: [12, 0, 7, 3] })
    const forms: { [name: string]: (memory: Memory) => { x?: Operand; dims?: number[]; options?: Options } } = {
      array: () => ({}),
      tensor: () => ({ dims }),
      'residual, tensor': memory => ({ dims, options: { residual: { data: memory(f32(rows * d, 4)), dims } } }),
      'residual scaled': memory => ({ options: { residual: memory(f32(rows * d, 4)), residualScale: -0.3 } }),
      'residual and sum': memory => ({
        options: { residual: memory(f32(rows * d, 4)), sum: memory(new Float32Array(rows * d)) }
      }),
      'sum is residual': memory => {
        const residual = memory(f32(rows * d, 4))
        return { options: { residual, sum: residual } }
      },
      'residual is x': memory => {
        const x = memory(f32(rows * d, 5))
        return { x, options: { residual: x } }
      },
      'float32 statistics': memory => ({ options: statistics(Float32Array, mean, memory) }),
      'float64 statistics': memory => ({ options: statistics(Float64Array, mean, memory) }),
      ...(dims.length === 2
        ? {
            lengths: memory => ({
              dims: [4, 6, d],
              options: {
                lengths: kept().lengths.map(n => Math.min(n, 6)),
                residual: memory(f32(rows * d, 4)),
                sum: memory(new Float32Array(rows * d)),
                ...statistics(Float64Array, mean, memory)
              }
            }),
            'mask with holes': memory => ({
              dims: [4, 6, d],
              options: { mask: holes(rows, 6), ...statistics(Float32Array, mean, memory) }
            })
          }
        : {}),
      'no rows': () => ({ x: new Float32Array(0) })
    }
    return Object.entries(forms).map(([name, form]) => ({
      name: `${layerName}, ${name}`,
      make(memory: Memory) {
        const { dims, options = {}, x = memory(f32(rows * d, 3)) } = form(memory)
        return { layer: layer(), x: dims ? new Tensor('float32', x as Float32Array, dims) : x, options }
      }
    }))
  })
}

function channelCalls(): Later[] {
  const [N, C, L] = [3, 6, 10]
  const weight = fill(ordinaryWeights, C, 1)
  const bias = f32(C, 2)
  const running = () => ({ runningMean: f32(C, 7), runningVar: f32(C, 8).map(Math.abs) })
  const layers: { [name: string]: readonly [() => AnyLayer, groups: number] } = {
    GroupNorm: [() => new GroupNorm(2, C, { weight, bias }), N * 2],
    InstanceNorm: [() => new InstanceNorm(C, { weight }), N * C],
    'BatchNorm, eval': [() => new BatchNorm(C, { weight, bias, ...running() }).eval(), C],
    'BatchNorm, training': [() => new BatchNorm(C, { weight, bias, ...running(), training: true }), C],
    'BatchNorm, average': [() => new BatchNorm(C, { momentum: null, unbiased: false }), C],
    'BatchNorm, untracked': [() => new BatchNorm(C, { trackRunningStats: false }).eval(), C]
  }
  const first = { dims: [N, C, L], options: {} }
  const last = { dims: [N, L, C], options: { layout: 'channels-last' } }
  const lengths = [10, 4, 0]
  return Object.entries(layers).flatMap(([layerName, [layer, groups]]) => {
    const forms: { [name: string]: (memory: Memory) => { dims: number[]; options: Options } } = {
      'channels first': () => first,
      'channels last': () => last,
      matrix: () => ({ dims: [N * L, C], options: {} }),
      'lengths, channels first': () => ({ ...first, options: { lengths } }),
      'lengths, channels last': () => ({ ...last, options: { ...last.options, lengths } }),
      'holes, channels first': () => ({ ...first, options: { mask: holes(N * L, 9) } }),
      'holes, channels last': () => ({ ...last, options: { ...last.options, mask: holes(N * L, 9) } }),
      'float32 statistics': memory => ({
        ...first,
        options: { mean: memory(new Float32Array(groups)), rstd: memory(new Float32Array(groups)) }
      }),
      'float64 statistics': memory => ({
        ...last,
        options: { ...last.options, mean: memory(new Float64Array(groups)), rstd: memory(new Float64Array(groups)) }
      }),
      'no samples': () => ({ dims: [0, C, L], options: {} })
    }
    if (/training|average/.test(layerName)) {
      const statistics = batchStatistics({ data: f32(N * C * L, 10), dims: first.dims })
      forms['given statistics'] = () => ({ ...first, options: { statistics } })
    }
    const padded = layerName !== 'GroupNorm' // it has no padding
    const own = Object.entries(forms).filter(([name]) => padded || !/lengths|holes/.test(name))
    return own.map(([name, form]) => ({
      name: `${layerName}, ${name}`,
      make(memory: Memory) {
        const { dims, options } = form(memory)
        const size = dims.reduce((product, dim) => product * dim, 1)
        return { layer: layer(), x: new Tensor('float32', memory(f32(size, 3)), dims), options: { ...options } }
      }
    }))
  })
}

/** Calls that are divided among threads. */
function largeCalls(): Later[] {
  const x = f32(512 * 768, 11)
  const make = (name: string, layer: () => AnyLayer, dims: number[], options: Options = {}) => ({
    name: `large ${name}`,
    make: (memory: Memory) => ({ layer: layer(), x: { data: memory(x.slice()), dims }, options })
  })
  const lengths = Array.from({ length: 16 }, (_, n) => (n * 131) % 512)
  return [
    make('LayerNorm', () => new LayerNorm(768), [512, 768]),
    make('RMSNorm', () => new RMSNorm(768), [16, 32, 768], { mask: holes(512, 1) }),
    make('GroupNorm', () => new GroupNorm(4, 48), [16, 48, 512]),
    make('InstanceNorm', () => new InstanceNorm(48), [16, 512, 48], { layout: 'channels-last', lengths }),
    make('BatchNorm', () => new BatchNorm(48), [16, 48, 512], { lengths })
  ]
}

/** Where x and what is written lie: [x and other operands, out, transfer]. */
const modes: { readonly [name: string]: readonly [Memory, out: Memory | 'x' | undefined, transfer?: boolean] } = {
  copied: [plain, undefined],
  'copied, views': [inside, inside],
  'copied, out': [plain, plain],
  'copied, out is x': [plain, 'x'],
  'copied, shared out': [plain, shared],
  'taken over': [plain, undefined, true],
  shared: [shared, undefined],
  'shared, out': [shared, shared],
  'shared, out is x': [shared, 'x'],
  'shared, out not': [shared, plain]
}

const dataOf = (operand: unknown) => (ArrayBuffer.isView(operand) ? operand : (operand as Tensor).data) as Float32Array

/** What a call gave and wrote. */
function outcome(layer: AnyLayer, result: unknown, options: Options): { [name: string]: Statistic } {
  const { sum, mean, rstd } = options
  const written = Object.entries({ sum, mean, rstd }).filter(([, array]) => array !== undefined)
  const { runningMean, runningVar, numBatchesTracked = 0 } = layer as Partial<BatchNorm>
  return {
    y: dataOf(result),
    ...Object.fromEntries(written.map(([name, array]) => [name, dataOf(array)])),
    ...(runningMean && runningVar ? { runningMean, runningVar } : {}),
    numBatchesTracked: Float32Array.of(numBatchesTracked)
  }
}

/** Every way in which forwardAsync differs from forward, in words. */
export async function* laterDifferences(): AsyncGenerator<string> {
  for (const { name, make } of [...rowCalls(), ...channelCalls(), ...largeCalls()]) {
    const now = make(plain)
    const result = now.layer.forward(now.x, now.options)
    const expected = outcome(now.layer, result, now.options)
    for (const [mode, [memory, place, transfer = false]] of Object.entries(modes)) {
      if (transfer && /residual is x|no rows|no samples/.test(name)) continue
      const { layer, x, options } = make(memory)
      const data = dataOf(x)
      const before = data.slice()
      const isTensor = !ArrayBuffer.isView(x)
      const out = place === 'x' ? x : place?.(new Float32Array(data.length))
      const given = out === undefined ? {} : { out }
      const promise = layer.forwardAsync(x, { ...options, ...given, transfer })
      const what = `${name}, ${mode}`
      const isShared = data.buffer instanceof SharedArrayBuffer
      if (transfer ? data.length !== 0 : firstDifference(data, before) >= 0) yield `${what}: x is not as it should be`
      // It may be used again at once.
      if (!isShared && !transfer) data.fill(Number.NaN)
      if (!isShared && ArrayBuffer.isView(options.residual) && options.sum !== options.residual) {
        ;(options.residual as Float32Array).fill(Number.NaN)
      }
      const later = await promise
      const actual = outcome(layer, later, options)
      for (const [array, wanted] of Object.entries(expected)) {
        const at = firstDifference(actual[array], wanted)
        if (at >= 0) yield `${what}: ${array}[${at}] is ${actual[array][at]}, expected ${wanted[at]}`
      }
      if (isTensor !== !ArrayBuffer.isView(later)) yield `${what}: the result is of another kind`
      if (isTensor && place !== 'x' && later.constructor !== x.constructor) yield `${what}: of another class`
      if (isTensor && String((later as Tensor).dims) !== String((x as Tensor).dims)) yield `${what}: of other dims`
      if (out !== undefined && dataOf(later) !== dataOf(out)) yield `${what}: the result is not out`
      if (place === undefined && isShared === false && dataOf(later) === data) yield `${what}: the result is x`
    }
  }
}
