// What a call costs beside its kernel: a prepared layer, a function, the general way, and small calls over channels.
// usage: npx tsx bench/small.ts, after npm run build
import { BatchNorm, GroupNorm, InstanceNorm, LayerNorm, layerNorm, setNumThreads } from '../dist/esm/index.js'

/** The quickest of many samples, in ns: calls are deterministic, the machine is not. */
function quickest(call: () => void): number {
  const rounds = 1000
  let best = Number.POSITIVE_INFINITY
  for (let sample = 0; sample < 60; sample++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < rounds; i++) call()
    best = Math.min(best, Number(process.hrtime.bigint() - start) / rounds)
  }
  return best
}

setNumThreads(1)
console.log('elements | layer, ns | function, ns | the general way, ns\n--: | --: | --: | --:')
for (const n of [16, 64, 128, 256, 768, 1024, 2048, 4096, 6144]) {
  const size = Math.min(n, 768)
  const x = Float32Array.from({ length: n - (n % size) }, (_, i) => Math.sin(i))
  const weight = x.slice(0, size)
  const out = new Float32Array(x.length)
  const layer = new LayerNorm(size, { weight, bias: weight })
  const times = [
    () => layer.forward(x, { out }),
    () => layerNorm(x, size, { weight, bias: weight, out }),
    // An option that the short cuts do not know.
    () => layer.forward(x, { out, mean: undefined })
  ].map(quickest)
  console.log([x.length, ...times.map(time => time.toFixed(0))].join(' | '))
}

console.log('\nlayer, [1, 64] | ns\n-- | --:')
const x = { data: Float32Array.from({ length: 64 }, (_, i) => Math.sin(i)), dims: [1, 64] }
const spatial = { data: x.data, dims: [1, 8, 8] }
const out = new Float32Array(64)
const batchNorm = new BatchNorm(64).eval()
const groupNorm = new GroupNorm(8, 64)
const instanceNorm = new InstanceNorm(8)
console.log(`BatchNorm, evaluation | ${quickest(() => batchNorm.forward(x, { out })).toFixed(0)}`)
console.log(`GroupNorm | ${quickest(() => groupNorm.forward(x, { out })).toFixed(0)}`)
console.log(`InstanceNorm of [1, 8, 8] | ${quickest(() => instanceNorm.forward(spatial, { out })).toFixed(0)}`)
