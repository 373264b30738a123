// npm start: the main job on real data. Normalises the hidden states of a recurrent network with LayerNorm and RMSNorm,
// shows what that does to them along the sequence (the measurement of the RMSNorm paper), how fast each implementation
// is, and that the bits of the chosen backend are those of the TypeScript one. Writes the results as .npy files.
import { mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { tables } from '../dist/esm/backend/choice.js'
import { firstDifference } from '../dist/esm/cases/data.js'
import { here, measure } from '../dist/esm/cli/bench/measure.js'
import { plainLayerNorm, plainRmsNorm } from '../dist/esm/cli/bench/plain.js'
import { npyHeader, writeElements, writeFully } from '../dist/esm/cli/npy.js'
import { backend, backendInfo, LayerNorm, RMSNorm } from '../dist/esm/index.js'
import { features, file, positions, readHiddenStates, sequences } from './data.ts'

const path = (relative: string) => fileURLToPath(new URL(`../${relative}`, import.meta.url))

const x = await readHiddenStates()
const dims = [sequences, positions, features]
const rows = sequences * positions

const info = backendInfo()
console.log(`backend    ${backend}: ${info.why} (${os.cpus()[0]?.model.trim()})`)
for (const { name, why } of info.missing) console.log(`           no ${name}: ${why}`)
console.log(
  `data       ${file}: hidden states of a GRU, ${sequences} sequences x ${positions} positions x ${features} features`
)

/** Mean and standard deviation of the hidden vectors at a position (from 1), averaged over the sequences. */
function momentsAt(data: Float32Array, position: number): { mean: number; std: number } {
  let mean = 0
  let std = 0
  for (let sequence = 0; sequence < sequences; sequence++) {
    const start = (sequence * positions + position - 1) * features
    const vector = Array.from(data.subarray(start, start + features))
    const average = vector.reduce((sum, value) => sum + value) / features
    const variance = vector.reduce((sum, value) => sum + (value - average) ** 2, 0) / features
    mean += average / sequences
    std += Math.sqrt(variance) / sequences
  }
  return { mean, std }
}

// The data set has no trained weights for these layers; ones and zeros are what training starts from.
const weight = new Float32Array(features).fill(1)
const bias = new Float32Array(features)
const y = new Float32Array(x.length)
const typescript = tables[tables.length - 1].float32
const shape = { outer: rows, size: features, inner: 1 }
const absent = { sum: undefined, mean: undefined, rstd: undefined, residual: undefined }
const operands = { ...absent, x, weight, bias, shape, residualScale: 1 }

const jobs = [
  {
    title: 'LayerNorm',
    file: 'out/layer_norm.npy',
    layer: new LayerNorm(features, { weight, bias }),
    typescript: (y: Float32Array) => typescript.layer_norm({ ...operands, y, eps: 1e-5 }),
    plain: () => plainLayerNorm(y, x, weight, bias, rows, features, 1e-5)
  },
  {
    title: 'RMSNorm',
    file: 'out/rms_norm.npy',
    layer: new RMSNorm(features, { weight }),
    typescript: (y: Float32Array) =>
      typescript.rms_norm({ ...operands, y, counted: features, eps: 1e-6, weightOffset: 0 }),
    plain: () => plainRmsNorm(y, x, weight, rows, features, 1e-6)
  }
]

mkdirSync(path('out'), { recursive: true })
let agree = true
for (const job of jobs) {
  const result = job.layer.forward(x)
  const reference = new Float32Array(x.length)
  job.typescript(reference)
  const same = firstDifference(result, reference) < 0
  agree &&= same

  console.log(`\n${job.title}${' '.repeat(22 - job.title.length)}before                after`)
  console.log('position        mean       std        mean       std')
  const cell = (value: number) => value.toFixed(4).padStart(10)
  for (const position of [1, 16, 32, 64]) {
    const before = momentsAt(x, position)
    const after = momentsAt(result, position)
    console.log(
      `${String(position).padStart(8)}  ${cell(before.mean)}${cell(before.std)}  ${cell(after.mean)}${cell(after.std)}`
    )
  }

  const [native, script, plain] = await measure(
    [here(() => void job.layer.forward(x, { out: y })), here(() => job.typescript(y)), here(job.plain)],
    250
  )
  const perRow = (time: number) => `${(time / rows).toFixed(0)} ns`
  const against = (time: number) => `${(plain / time).toFixed(1)}x`
  console.log(
    `per row    ${backend} ${perRow(native)} (${against(native)} the speed of the plain loop), ` +
      `TypeScript ${perRow(script)} (${against(script)}), plain loop ${perRow(plain)}`
  )
  console.log(`bits       ${backend} and TypeScript ${same ? 'agree in every bit' : 'DIFFER'}`)

  const output = await open(path(job.file), 'w')
  await writeFully(output, npyHeader(dims))
  await writeElements(output, result)
  await output.close()
  console.log(`written    ${job.file}`)
}
process.exitCode = agree ? 0 : 1
