// npx tsx bench/elements.ts [--write] (after npm run build): float16 and bfloat16 beside float32, and rows of views beside dense
// ones, on each vector backend of this machine, one thread. Results are held against float32's, rounded, before they are timed.
// Medians of some processes: each has other pages of memory, which the times go by. With --write also into
// bench/results/elements-<cpu>.md.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { backend, backends, LayerNorm, RMSNorm, setNumThreads, view } from '../dist/esm/index.js'
import { toBfloat16, toFloat16 } from '../dist/esm/kernels/float16.js'
import { fileNameOf } from './machine.ts'
import { median } from './probe.ts'

const shapes = [
  [256, 768],
  [1024, 768],
  [4096, 64],
  [32768, 768]
] as const
const types = { float16: toFloat16, bfloat16: toBfloat16 }

/** Nanoseconds of each call, medians of interleaved samples. */
function race(calls: (() => void)[], samples: number): number[] {
  const repeats = calls.map(call => {
    call()
    const start = performance.now()
    call()
    return Math.max(1, Math.round(2 / Math.max(1e-4, performance.now() - start)))
  })
  const times = calls.map((): number[] => [])
  for (let sample = 0; sample < samples; sample++) {
    for (const [i, call] of calls.entries()) {
      const start = performance.now()
      for (let k = 0; k < repeats[i]; k++) call()
      times[i].push(((performance.now() - start) / repeats[i]) * 1e6)
    }
  }
  return times.map(median)
}

function same(what: string, got: Uint16Array, expected: Float32Array, round: (value: number) => number): void {
  const wrong = got.findIndex((bits, i) => bits !== round(expected[i]))
  if (wrong >= 0) throw new Error(`${what}: element ${wrong} is no rounding of float32's`)
}

/** What is measured: nanoseconds of float32 or dense rows, and how many times as long the others take. */
type Times = { readonly [what: string]: readonly number[] }

function measure(): Times {
  setNumThreads(1)
  const times: { [what: string]: number[] } = {}
  for (const [rows, size] of shapes) {
    const wide = Float32Array.from({ length: rows * size }, (_, i) => Math.sin(i) * 2)
    const weight = Float32Array.from({ length: size }, (_, i) => 1 + i / size)
    for (const layer of [new LayerNorm(size, { weight, bias: weight }), new RMSNorm(size, { weight })]) {
      const calls: (() => void)[] = []
      for (const [dtype, round] of Object.entries(types) as ['float16' | 'bfloat16', (value: number) => number][]) {
        const [x, out] = [Uint16Array.from(wide, round), new Uint16Array(wide.length)]
        const call = () => layer.forward(x, { out, dtype })
        call()
        const exact = new Float32Array(wide.length)
        layer.forward(x, { out: exact, dtype })
        same(`${backend}, [${rows}, ${size}], ${dtype}`, out, exact, round)
        calls.push(call)
      }
      const y = new Float32Array(wide.length)
      calls.push(() => layer.forward(wide, { out: y }))
      const [half, brain, single] = race(calls, rows * size > 1e6 ? 25 : 101).map(time => time / rows)
      const name = layer instanceof LayerNorm ? 'LayerNorm' : 'RMSNorm'
      times[`${name} [${rows}, ${size}]`] = [single, half / single, brain / single]
    }
  }
  return times
}

function measureViews(): Times {
  setNumThreads(1)
  const [tokens, heads, size] = [64, 8, 32]
  const qkv = Float32Array.from({ length: tokens * 3 * heads * size }, (_, i) => Math.sin(i))
  const layer = new RMSNorm(size, { weight: new Float32Array(size).fill(1) })
  const part = (k: number) =>
    view(qkv, { dims: [tokens, heads, size], strides: [3 * heads * size, size, 1], offset: k * heads * size })
  const dense = () => ({ data: qkv.slice(0, tokens * heads * size), dims: [tokens, heads, size] })
  const both = (a: ReturnType<typeof part | typeof dense>, b: typeof a) => () => {
    layer.forward(a, { out: a })
    layer.forward(b, { out: b })
  }
  const [views, rows] = race([both(part(0), part(1)), both(dense(), dense())], 101)
  return { 'QK-norm of [64, 3, 8, 32] in place': [rows, views / rows] }
}

const PROCESSES = 5

/** The medians of some processes on a backend. */
function timesOn(backend: string): Times {
  const script = fileURLToPath(import.meta.url)
  const all = Array.from({ length: PROCESSES }, () => {
    const env = { ...process.env, EVENKEEL_BACKEND: backend }
    const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, script, '--one'], {
      env,
      encoding: 'utf8'
    })
    if (status !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as Times
  })
  const medians = Object.entries(all[0]).map(([what, times]) => {
    return [what, times.map((_, i) => median(all.map(one => one[what][i])))] as const
  })
  return Object.fromEntries(medians)
}

const { values: options } = parseArgs({
  options: { write: { type: 'boolean', default: false }, one: { type: 'boolean', default: false } }
})
if (options.one) {
  console.log(JSON.stringify({ ...measure(), ...measureViews() }))
} else {
  const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
  const lines = [
    `# Elements of 16 bits, and views: ${cpu}`,
    '',
    '`npx tsx bench/elements.ts --write`; medians of interleaved samples and of five processes, one thread; the time of 16 bits is that of float32 times what stands there.'
  ]
  for (const name of backends.filter(name => name !== 'portable' && name !== 'js')) {
    lines.push('', `## ${name}`, '', '| rows | float32, ns a row | float16 | bfloat16 |', '| --- | --: | --: | --: |')
    for (const [what, [time, ...ratios]] of Object.entries(timesOn(name))) {
      const times = ratios.map(ratio => ratio.toFixed(2))
      if (ratios.length > 1) lines.push(`| ${what} | ${time.toFixed(1)} | ${times.join(' | ')} |`)
      else lines.push('', `${what}: dense tensors ${(time / 1000).toFixed(1)} us, views ${times[0]} times as long`)
    }
  }
  console.log(lines.join('\n'))
  if (options.write) {
    const file = `elements-${fileNameOf(cpu)}.md`
    writeFileSync(fileURLToPath(new URL(`results/${file}`, import.meta.url)), `${lines.join('\n')}\n`)
  }
}
