// Files of float16 and bfloat16 on the command line. In this process, by the functions that the command line calls.
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Dtype } from '../../dist/esm/call/elements.js'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { apply } from '../../dist/esm/cli/apply.js'
import { calibrate } from '../../dist/esm/cli/calibrate.js'
import { corpus } from '../../dist/esm/cli/corpus.js'
import { embed } from '../../dist/esm/cli/embed.js'
import {
  BatchStatistics,
  batchNorm,
  batchStatistics,
  calibrateEmbeddings,
  EmbeddingStatistics,
  groupNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  normalize,
  poolEmbeddings,
  quantizeEmbeddings,
  rmsNorm
} from '../../dist/esm/index.js'
import { npyFolder } from '../support/npy_folder.ts'
import { shell } from '../support/process.ts'

const { at, save, saveTyped, saveAs, read } = npyFolder()

const lines: string[] = []
const warnings: string[] = []
beforeEach(() => {
  lines.length = 0
  warnings.length = 0
  vi.spyOn(console, 'log').mockImplementation(line => void lines.push(line))
  vi.spyOn(console, 'error').mockImplementation(line => void warnings.push(line))
})
afterEach(() => vi.restoreAllMocks())

interface Tensor {
  readonly type: string
  readonly data: Float32Array | Uint16Array
  readonly dims: number[]
}

/** Numbers in a type, rounded by a kernel that has nothing to do with files. */
function tensor(type: string, numbers: Float32Array, dims: number[]): Tensor {
  if (type === 'float32') return { type, data: numbers, dims }
  const rounded = quantizeEmbeddings(numbers, numbers.length, { precision: type as Dtype })
  return { type, data: new Uint16Array(rounded.buffer as ArrayBuffer, rounded.byteOffset, numbers.length), dims }
}
const place = (type: string, dims: number[]): Tensor => {
  const size = dims.reduce((product, dim) => product * dim, 1)
  return { type, data: type === 'float32' ? new Float32Array(size) : new Uint16Array(size), dims }
}

const run = (...args: string[]) => apply.run([...args, '-o', at('y.npy'), '--force'])
const failure = async (command: { run(args: readonly string[]): Promise<number> }, ...args: string[]) =>
  ((await command.run([...args, '-o', at('y.npy'), '--force']).catch(error => error)) as Error).message

/** The result is written as this type, with the bits of a call. */
function expectFile(
  descr: string,
  { data, dims }: { data: unknown; dims: readonly number[] },
  what: string,
  name = 'y.npy'
) {
  const { header, bytes } = read(name)
  expect(header, what).toBe(`{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims.join(', ')}), }`)
  const { buffer, byteOffset, byteLength } = data as Uint16Array
  expect(bytes.equals(Buffer.from(buffer, byteOffset, byteLength)), what).toBe(true)
}

/** How a type stands in files, and what else is said of it. */
const descriptions: [descr: string, type: Dtype, options: string[]][] = [
  ['<f2', 'float16', []],
  ['<V2', 'bfloat16', []],
  ['|V2', 'bfloat16', []],
  ['<u2', 'float16', ['--dtype', 'float16']],
  ['<u2', 'bfloat16', ['--dtype', 'bfloat16']]
]

const dims = [3, 4, 10]
const numbers = fill(normal, 120, 1)
const [weights, shifts] = [fill(ordinaryWeights, 10, 2), fill(normal, 10, 3)]

describe('equality: evenkeel apply on files of 16 bits', () => {
  it.each(descriptions)(
    '%s (%s) goes through every operation as it is, and so it is written',
    async (descr, type, o) => {
      const x = tensor(type, numbers, dims)
      const [weight, bias] = [tensor(type, weights, [10]), tensor(type, shifts, [10])]
      const four = { weight: tensor(type, weights.subarray(0, 4), [4]), bias: tensor(type, shifts.subarray(0, 4), [4]) }
      const residual = tensor(type, fill(normal, 120, 4), dims)
      const input = saveTyped('x.npy', descr, x.data, dims)
      const [w, b] = [saveTyped('w.npy', descr, weight.data, [10]), saveTyped('b.npy', descr, bias.data, [10])]
      const affine = ['--weight', saveTyped('w4.npy', descr, four.weight.data, [4])]
      const both = [...affine, '--bias', saveTyped('b4.npy', descr, four.bias.data, [4])]
      const r = saveTyped('r.npy', descr, residual.data, dims)
      const statistics = { runningMean: fill(normal, 4, 5), runningVar: Float32Array.of(1, 2, 3, 4) }
      const running = ['--running-mean', save('m.npy', statistics.runningMean, [4])]
      const given = [...running, '--running-var', save('v.npy', statistics.runningVar, [4])]
      const calls: [args: string[], expected: unknown][] = [
        [['layer-norm', '--weight', w, '--bias', b], layerNorm(x, 10, { weight, bias })],
        [['layer-norm', '--residual', r, '--lengths', '4,0,2'], layerNorm(x, 10, { residual, lengths: [4, 0, 2] })],
        [['layer-norm', '--axis', '1', ...affine], layerNorm(x, { axis: 1 }, { weight: four.weight })],
        [['rms-norm', '--weight', w, '--residual', r], rmsNorm(x, 10, { weight, residual })],
        [['normalize', '--axis', '0'], normalize(x, { axis: 0 })],
        [['batch-norm', ...given, ...both], batchNorm(x, { ...statistics, ...four })],
        [['batch-norm', '--training'], batchNorm(x, { training: true })],
        [['group-norm', '--groups', '2', ...both], groupNorm(x, 2, four)],
        [['instance-norm', ...both], instanceNorm(x, four)],
        [['local-response-norm', '--size', '3'], localResponseNorm(x, 3)]
      ]
      for (const [args, expected] of calls) {
        await run(args[0], input, ...args.slice(1), ...o)
        expectFile(descr, expected as Tensor, args.join(' '))
      }
    }
  )

  it('results of another type are those of the call with such an out', async () => {
    const written = { float32: '<f4', float16: '<f2', bfloat16: '<V2' } as const
    for (const from of ['float32', 'float16', 'bfloat16'] as const) {
      const x = tensor(from, numbers, dims)
      const input = saveTyped('x.npy', written[from], x.data, dims)
      for (const to of ['float32', 'float16', 'bfloat16'] as const) {
        await run('layer-norm', input, '--out-dtype', to)
        expectFile(written[to], layerNorm(x, 10, { out: place(to, dims) }) as Tensor, `${from} to ${to}`)
        await run('batch-norm', input, '--training', '--out-dtype', to)
        expectFile(written[to], batchNorm(x, { training: true, out: place(to, dims) }) as Tensor, `${from} to ${to}`)
      }
    }
    const bits = tensor('bfloat16', numbers, dims)
    await run('rms-norm', saveTyped('x.npy', '<u2', bits.data, dims), '--dtype', 'bfloat16', '--out-dtype', 'bfloat16')
    expectFile('<V2', rmsNorm(bits, 10) as Tensor, 'bits')
  })

  it('weights may be of other types than the input', async () => {
    const [half, brain, single] = ['float16', 'bfloat16', 'float32'].map(type => tensor(type, numbers, dims))
    const weight = tensor('bfloat16', weights, [10])
    const w = saveTyped('w.npy', '<V2', weight.data, [10])
    const bits = saveTyped('u.npy', '<u2', weight.data, [10])
    await run(
      'layer-norm',
      saveTyped('x.npy', '<f2', half.data, dims),
      '--weight',
      w,
      '--bias',
      save('b.npy', shifts, [10])
    )
    expectFile('<f2', layerNorm(half, 10, { weight, bias: shifts }) as Tensor, 'float16')
    await run('layer-norm', saveTyped('x.npy', '<V2', brain.data, dims), '--weight', bits, '--dtype', 'bfloat16')
    expectFile('<V2', layerNorm(brain, 10, { weight }) as Tensor, 'bfloat16')
    await run('layer-norm', saveTyped('x.npy', '<f4', single.data, dims), '--weight', w)
    expectFile('<f4', layerNorm(single, 10, { weight }) as Tensor, 'float32')
  })

  it('in several blocks, in Fortran order, in part and from a pipe; the line counts their bytes', async () => {
    const [rows, columns] = [1500, 768]
    const some = fill(normal, 997, 6)
    const x = tensor(
      'float16',
      Float32Array.from({ length: rows * columns }, (_, i) => some[i % 997]),
      [rows, columns]
    )
    const across = new Uint16Array(x.data.length)
    for (let i = 0; i < across.length; i++) across[(i % columns) * rows + Math.floor(i / columns)] = x.data[i]
    const header = `{'descr': '<f2', 'fortran_order': True, 'shape': (${rows}, ${columns}), }\n`
    const fortran = saveAs('f.npy', 1, header, new Uint8Array(across.buffer))
    const input = saveTyped('x.npy', '<f2', x.data, x.dims)
    await run('layer-norm', fortran, '--residual', input, '--json')
    expectFile('<f2', layerNorm(x, columns, { residual: x }) as Tensor, 'Fortran')
    expect(JSON.parse(lines.at(-1) as string).bytes).toBe(rows * columns * 6)
    await run('layer-norm', input, '--rows', '1100:1103', '--out-dtype', 'float32', '--json')
    const part = { ...x, data: x.data.slice(1100 * columns, 1103 * columns), dims: [3, columns] }
    expectFile('<f4', layerNorm(part, columns, { out: place('float32', [3, columns]) }) as Tensor, 'rows')
    expect(JSON.parse(lines.at(-1) as string).bytes).toBe(3 * columns * 6)
    expect(shell(`cat ${input} | evenkeel apply layer-norm - -o - >${at('y.npy')}`).stderr).toContain('standard output')
    expectFile('<f2', layerNorm(x, columns) as Tensor, 'pipe')
  })
})

describe('equality: embeddings of files of 16 bits', () => {
  it.each(descriptions)('%s (%s): embed and calibrate give the bits of the functions', async (descr, type, options) => {
    const x = tensor(type, numbers, dims)
    const input = saveTyped('x.npy', descr, x.data, dims)
    const weight = tensor(type, weights, [10])
    const w = saveTyped('w.npy', descr, weight.data, [10])
    const output = ['-o', at('y.npy'), '--force', ...options]
    await embed.run([input, '--lengths', '4,1,2', ...output])
    expectFile('<f4', poolEmbeddings(x, { lengths: [4, 1, 2] }) as Tensor, 'mean')
    await embed.run([input, '--layer-norm', '--weight', w, '--precision', 'float16', '--rows', '1:', ...output])
    const rest = { ...x, data: x.data.slice(40), dims: [2, 4, 10] }
    const half = poolEmbeddings(rest, { layerNorm: { weight }, precision: 'float16' })
    expectFile('<f2', half as Tensor, 'layerNorm')
    await embed.run([input, '--pooling', 'none', '--precision', 'bfloat16', '--json', ...output])
    expectFile('<u2', poolEmbeddings(x, { pooling: 'none', precision: 'bfloat16' }) as Tensor, 'none')
    expect(JSON.parse(lines.at(-1) as string).bytes).toBe(480)
    await calibrate.run([input, '-o', at('s.json'), '--force', ...options])
    expect(readFileSync(at('s.json'), 'utf8')).toBe(`${JSON.stringify(calibrateEmbeddings(x, 10))}\n`)
  })
})

describe('equality: a corpus of files of 16 bits', () => {
  it('has the statistics of all, and results of the type of each', async () => {
    const shards = [tensor('bfloat16', numbers, dims), tensor('bfloat16', fill(normal, 80, 7), [2, 4, 10])]
    const paths = shards.map(({ data, dims }, i) => saveTyped(`s${i}.npy`, '<u2', data, dims))
    const run = (op: string[], out: string) =>
      corpus.run(['run', ...op, ...paths, '--dtype', 'bfloat16', '--out-dir', at(out), '--jobs', '1', '--json'])
    expect(await run(['batch-norm', '--training'], 'batch')).toBe(0)
    const statistics = BatchStatistics.merge(...shards.map(shard => batchStatistics(shard)))
    for (const [i, shard] of shards.entries()) {
      const expected = batchNorm(shard, { training: true, statistics }) as Tensor
      expectFile('<u2', expected, `shard ${i}`, `batch/s${i}.npy`)
    }
    expect(await run(['calibrate'], 'ranges')).toBe(0)
    const ranges = EmbeddingStatistics.merge(...shards.map(shard => calibrateEmbeddings(shard, 10)))
    expect(JSON.parse(readFileSync(at('ranges/statistics.json'), 'utf8'))).toEqual(JSON.parse(JSON.stringify(ranges)))
  })
})

describe('behaviour: files of 16 bits', () => {
  const half = tensor('float16', numbers, dims)

  it('of another type than --dtype says are refused; of float32 there is a warning, for it may be meant for the result', async () => {
    const f2 = saveTyped('x.npy', '<f2', half.data, dims)
    const conflict = `${f2}: dtype expected bfloat16 (--dtype), got '<f2' (float16)`
    expect(await failure(apply, 'layer-norm', f2, '--dtype', 'bfloat16')).toBe(conflict)
    expect(await failure(embed, f2, '--dtype', 'bfloat16')).toBe(conflict)
    expect(await calibrate.run([f2, '-o', at('s.json'), '--force', '--dtype', 'bfloat16']).catch(e => e.message)).toBe(
      conflict
    )
    const f4 = save('f4.npy', numbers, dims)
    await run('layer-norm', f4, '--dtype', 'float16')
    await embed.run([f4, '-o', at('y.npy'), '--force', '--dtype', 'float16'])
    const warning = `evenkeel: warning: ${f4}: --dtype float16 says what '<u2' is, and this file is float32`
    expect(warnings).toEqual([
      `${warning}; --out-dtype says what is written`,
      `${warning}; --precision says what is written`
    ])
  })

  it('refuse a residual of another type, statistics of 16 bits, and what is too short', async () => {
    const f2 = saveTyped('x.npy', '<f2', half.data, dims)
    expect(await failure(apply, 'rms-norm', f2, '--residual', save('r.npy', numbers, dims))).toBe(
      '--residual: dtype expected float16, that of the input, got float32'
    )
    const cut = saveTyped('cut.npy', '<f2', half.data.subarray(0, 100), dims)
    expect(await failure(apply, 'rms-norm', cut)).toBe(`${cut}: data expected 240 bytes, got 200`)
    const m = saveTyped('m.npy', '<f2', half.data.subarray(0, 4), [4])
    expect(await failure(apply, 'batch-norm', f2, '--running-mean', m, '--running-var', m)).toContain('float64')
  })

  it('refuse other names of types', async () => {
    expect(await failure(apply, 'rms-norm', 'x', '--dtype', 'float32')).toBe(
      '--dtype expected float16, bfloat16 (nearest: float16), got "float32"'
    )
    expect(await failure(apply, 'rms-norm', 'x', '--out-dtype', 'fp16')).toContain(
      '--out-dtype expected float32, float16, bfloat16'
    )
    const given = ['x', '-o', at('s.json'), '--dtype', 'half']
    expect(await calibrate.run(given).catch(e => e.message)).toContain('--dtype expected float16, bfloat16, got "half"')
  })
})
