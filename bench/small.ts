// Where copying a call's operands through the arena of the addon (src/small.ts) stops paying: the same call both ways.
// usage: npx tsx bench/small.ts, after npm run build
import { LayerNorm } from '../dist/esm/index.js'

/** The quickest of many samples, in ns: both ways are deterministic, the machine is not. */
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

console.log('elements | through the arena, ns | with arrays, ns\n--: | --: | --:')
for (const n of [16, 64, 128, 256, 768, 1024, 2048, 4096]) {
  const x = Float32Array.from({ length: n }, (_, i) => Math.sin(i))
  const out = new Float32Array(n)
  const layer = new LayerNorm(n, { weight: x, bias: x })
  // An option that a small call has not sends the call the general way.
  const through = quickest(() => layer.forward(x, { out }))
  const withArrays = quickest(() => layer.forward(x, { out, mean: undefined }))
  console.log(`${n} | ${through.toFixed(0)} | ${withArrays.toFixed(0)}`)
}
