// npx tsx bench/padding.ts (after npm run build): what padding costs or saves, LayerNorm of [32, 512, 768] from memory, one
// thread: the kernel alone, and reading the mask. 45 % of the positions are padded, but for `none`.
import { kernelOf } from '../dist/esm/backend/choice.js'
import { readPadding } from '../dist/esm/call/padding.js'
import { backend, setNumThreads } from '../dist/esm/index.js'

const [samples, positions, size] = [32, 512, 768]
const rows = samples * positions
setNumThreads(1)
const x = Float32Array.from({ length: rows * size }, (_, i) => Math.sin(i))
const y = new Float32Array(x.length)
const maskOf = (real: (row: number) => boolean) => Uint8Array.from({ length: rows }, (_, row) => (real(row) ? 1 : 0))
const inRuns = (length: number) => maskOf(row => (Math.floor(row / length) * 7919) % 100 < 55)
const masks = {
  none: maskOf(() => true),
  'at the ends': maskOf(
    row => row % positions < positions * (0.1 + (0.9 * Math.floor(row / positions)) / (samples - 1))
  ),
  'runs of 32': inRuns(32),
  'runs of 8': inRuns(8),
  'single rows': inRuns(1)
}
const absent = {
  sum: undefined,
  mean: undefined,
  rstd: undefined,
  residual: undefined,
  weight: undefined,
  bias: undefined
}
const layerNorm = kernelOf('layer_norm')
const times: { [name: string]: { kernel: number[]; mask: number[] } } = {}
for (let round = 0; round < 25; round++) {
  for (const [name, mask] of Object.entries(masks)) {
    const start = performance.now()
    const spans = readPadding('bench', { mask }, samples, positions, true)
    const read = performance.now()
    layerNorm({ ...absent, y, x, shape: { outer: rows, size, inner: 1, spans }, residualScale: 1, eps: 1e-5 })
    const end = performance.now()
    times[name] ??= { kernel: [], mask: [] }
    times[name].kernel.push(end - read)
    times[name].mask.push(read - start)
  }
}
const quickest = (all: number[]) => Math.min(...all).toFixed(2)
console.log(`${backend}, ms, the quickest of 25`)
for (const [name, { kernel, mask }] of Object.entries(times)) {
  console.log(`${name.padEnd(12)} kernel ${quickest(kernel).padStart(6)}  mask ${quickest(mask)}`)
}
