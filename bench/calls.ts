// What our calls cost beside their kernels, and what stands in no comparison with others: small calls over channels, axes that are
// not the last ones, padding, and the time until forwardAsync gives its Promise. A process of its own, of the backend that
// EVENKEEL_BACKEND names, which prints its result as JSON. usage: calls.ts
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  BatchNorm,
  backend,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  layerNorm,
  rmsNorm,
  setNumThreads
} from '../dist/esm/index.js'
import { median } from './probe.ts'
import type { Calls } from './results.ts'

const ELEMENTS = [16, 64, 128, 256, 768, 1024, 2048, 4096]
const COLS = 768
const waves = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i))

/** Nanoseconds, the quickest of many samples: calls are deterministic, the machine is not. */
function quickest(call: () => void, calls = 1000, samples = 60): number {
  let best = Number.POSITIVE_INFINITY
  for (let sample = 0; sample < samples; sample++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < calls; i++) call()
    best = Math.min(best, Number(process.hrtime.bigint() - start) / calls)
  }
  return Math.round(best)
}

/** Of the kernels alone; undefined where there is no compiler, or no object file of a build on this machine. */
function bareKernels(): number[] | undefined {
  const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
  const objects = [`isa/${backend}`, 'threads/pool', 'threads/sections'].map(name =>
    at(`../native/build/Release/obj.target/evenkeel/${name}.o`)
  )
  if (!objects.every(object => existsSync(object))) return undefined
  const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-bare-'))
  try {
    const program = join(folder, 'bare')
    const flags = ['-std=c++17', '-O3', `-DEVENKEEL_KERNELS=${backend}_kernels`]
    const compiled = spawnSync(process.env.CXX ?? 'c++', [
      ...flags,
      at('bare.cpp'),
      ...objects,
      '-pthread',
      '-o',
      program
    ])
    if (compiled.status !== 0) return undefined
    const { stdout, status } = spawnSync(program, ELEMENTS.map(String), { encoding: 'utf8' })
    return status === 0 ? stdout.trim().split('\n').map(Number) : undefined
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function rows(): Calls['rows'] {
  const kernels = bareKernels()
  return ELEMENTS.map((elements, i) => {
    const [x, weight, out] = [waves(elements), waves(elements), new Float32Array(elements)]
    const layer = new LayerNorm(elements, { weight, bias: weight })
    return {
      elements,
      kernel: kernels?.[i],
      layer: quickest(() => layer.forward(x, { out })),
      function: quickest(() => layerNorm(x, elements, { weight, bias: weight, out }))
    }
  })
}

function small(): Calls['small'] {
  const x = { data: waves(64), dims: [1, 64] }
  const spatial = { data: x.data, dims: [1, 8, 8] }
  const out = new Float32Array(64)
  const batchNorm = new BatchNorm(64).eval()
  const groupNorm = new GroupNorm(8, 64)
  const instanceNorm = new InstanceNorm(8)
  return {
    'BatchNorm, evaluation, [1, 64]': quickest(() => batchNorm.forward(x, { out })),
    'GroupNorm of 8 groups, [1, 64]': quickest(() => groupNorm.forward(x, { out })),
    'InstanceNorm, [1, 8, 8]': quickest(() => instanceNorm.forward(spatial, { out }))
  }
}

/** Milliseconds, in turn. */
function inTurn(calls: readonly (() => void)[], rounds: number): number[] {
  const times = calls.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, call] of calls.entries()) {
      const start = performance.now()
      call()
      times[i].push(performance.now() - start)
    }
  }
  return times.map(median)
}

/** The loop of someone who knows that a position's elements of all samples and of the last axis belong together. */
function plainOuter(y: Float32Array, x: Float32Array, [samples, rows, cols]: readonly number[]): void {
  const count = samples * cols
  for (let row = 0; row < rows; row++) {
    let [mean, variance] = [0, 0]
    for (let n = 0; n < samples; n++) {
      const at = (n * rows + row) * cols
      for (let i = at; i < at + cols; i++) mean += x[i]
    }
    mean /= count
    for (let n = 0; n < samples; n++) {
      const at = (n * rows + row) * cols
      for (let i = at; i < at + cols; i++) variance += (x[i] - mean) ** 2
    }
    const rstd = 1 / Math.sqrt(variance / count + 1e-5)
    for (let n = 0; n < samples; n++) {
      const at = (n * rows + row) * cols
      for (let i = at; i < at + cols; i++) y[i] = (x[i] - mean) * rstd
    }
  }
}

function axes(): Calls['axes'] {
  const dims = [8, 64, 8192]
  const x = { data: waves(dims[0] * dims[1] * dims[2]), dims }
  const out = new Float32Array(x.data.length)
  const [call, plain] = inTurn([() => layerNorm(x, { axis: [0, 2] }, { out }), () => plainOuter(out, x.data, dims)], 9)
  return { dims, call, plain }
}

/** Real positions of each sample, 55 % in all. */
const lengthsOf = (samples: number, positions: number) =>
  Uint32Array.from({ length: samples }, (_, n) => Math.round(positions * (0.1 + (0.9 * n) / (samples - 1))))
const maskOf = (lengths: Uint32Array, positions: number) =>
  Uint8Array.from({ length: lengths.length * positions }, (_, i) =>
    i % positions < lengths[Math.floor(i / positions)] ? 1 : 0
  )

function padding(): Calls['padding'] {
  const dims = [32, 512, COLS]
  const x = { data: waves(dims[0] * dims[1] * COLS), dims }
  const out = new Float32Array(x.data.length)
  const layer = new LayerNorm(COLS)
  const lengths = lengthsOf(dims[0], dims[1])
  const mask = maskOf(lengths, dims[1])
  const [none, withLengths, withMask] = inTurn(
    [() => layer.forward(x, { out }), () => layer.forward(x, { out, lengths }), () => layer.forward(x, { out, mask })],
    15
  )
  return { dims, none, lengths: withLengths, mask: withMask }
}

/** Each set of some options of two functions, and a layer of another size each: as many forms as V8 has to tell apart. */
function kinds(): Calls['kinds'] {
  const [x, out] = [waves(COLS), new Float32Array(COLS)]
  const layer = new LayerNorm(COLS, { weight: x, bias: x })
  const prepared = () => layer.forward(x, { out })
  const before = quickest(prepared)
  const size = 16
  const some = waves(size)
  const options = {
    weight: some,
    eps: 1e-5,
    residual: some,
    out: new Float32Array(size),
    sum: new Float32Array(size),
    rstd: new Float64Array(1),
    bias: some,
    mean: new Float64Array(1)
  }
  let count = 0
  const functions: [(x: Float32Array, size: number, options: object) => Float32Array, number][] = [
    [layerNorm, 8],
    [rmsNorm, 6]
  ]
  for (const [call, known] of functions) {
    const names = (Object.keys(options) as (keyof typeof options)[]).slice(0, known)
    for (let set = 0; set < 2 ** known; set++) {
      const chosen = names.filter((_, i) => set & (1 << i))
      if (chosen.includes('sum') && !chosen.includes('residual')) continue
      call(some, size, Object.fromEntries(chosen.map(name => [name, options[name]])))
      new LayerNorm(size + count).forward(new Float32Array(size + count))
      count += 2
    }
  }
  return { count, before, after: quickest(prepared) }
}

/** Milliseconds until a call of forwardAsync gives its Promise, once V8 has compiled what it runs: it takes some 40 calls (measured). */
async function promises(): Promise<Calls['promises']> {
  const dims = [32, 170, COLS] // 16 MiB: of 24 V8 collects at each call (measured)
  const lengths = lengthsOf(dims[0], dims[1])
  const mask = maskOf(lengths, dims[1])
  const layer = new LayerNorm(COLS)
  const batchNorm = new BatchNorm(COLS)
  const layout = 'channels-last'
  type Tensor = { data: Float32Array; dims: number[] }
  const calls: { readonly [name: string]: (x: Tensor) => Promise<Tensor> } = {
    'LayerNorm, `transfer`': x => layer.forwardAsync(x, { transfer: true }),
    'LayerNorm, `transfer`, `lengths`': x => layer.forwardAsync(x, { transfer: true, lengths }),
    'LayerNorm, `transfer`, `mask`': x => layer.forwardAsync(x, { transfer: true, mask }),
    'BatchNorm, training, `transfer`': x => batchNorm.forwardAsync(x, { transfer: true, layout })
  }
  const found: [string, number][] = []
  for (const [name, call] of Object.entries(calls)) {
    let x: Tensor = { data: waves(dims[0] * dims[1] * COLS), dims }
    const times: number[] = []
    for (let i = 0; i < 80; i++) {
      const start = performance.now()
      const promise = call(x)
      if (i >= 60) times.push(performance.now() - start)
      x = await promise
    }
    found.push([name, median(times)])
  }
  return Object.fromEntries(found)
}

const gave = await promises()
setNumThreads(1)
const found: Calls = { rows: rows(), small: small(), kinds: kinds(), axes: axes(), padding: padding(), promises: gave }
console.log(JSON.stringify(found, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value)))
