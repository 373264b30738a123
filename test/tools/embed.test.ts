// evenkeel embed and calibrate. Most commands run in this process, by the functions that the command line calls.
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { printable } from '../../dist/esm/backend/printable.js'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { calibrate } from '../../dist/esm/cli/calibrate.js'
import { embed } from '../../dist/esm/cli/embed.js'
import { UsageError } from '../../dist/esm/cli/usage.js'
import {
  backends,
  calibrateEmbeddings,
  EmbeddingStatistics,
  type PoolEmbeddingsOptions,
  poolEmbeddings,
  type TensorLike
} from '../../dist/esm/index.js'
import { npyFolder } from '../support/npy_folder.ts'
import { run, shell } from '../support/process.ts'

const { at, save, saveTyped, saveAs, read } = npyFolder()

const bytesOf = ({ data }: { data: unknown }) => {
  const { buffer, byteOffset, byteLength } = data as Float32Array
  return Buffer.from(buffer, byteOffset, byteLength)
}

const [N, L, C] = [5, 7, 12]
const hidden = { data: fill(normal, N * L * C, 1), dims: [N, L, C] }
const lengths = [7, 3, 0, 1, 5]
const mask = Array.from({ length: N * L }, (_, i) => Number((i * 7) % 5 > 1))
const weight = fill(ordinaryWeights, 2 * C, 2)
const bias = fill(normal, 2 * C, 3)
const statistics = calibrateEmbeddings(fill(normal, 40 * 10, 4), 10)
const { ranges } = statistics

// Blocks have 2^20 elements: 10 samples of this file.
const large = { data: fill(next => 2 * next() - 1, 24 * 1000 * 96, 21), dims: [24, 1000, 96] }
const flags = Array.from({ length: 24_000 }, (_, i) => (i * 7) % 5 > 0)
const prompts = Array.from({ length: 24 }, (_, i) => i)

const file = (name: string) => at(`${name}.npy`)

beforeAll(() => {
  save('hidden.npy', hidden.data, hidden.dims)
  save('rows.npy', hidden.data, [N * L, C])
  save('weight.npy', weight, [2 * C])
  save('bias.npy', bias, [2 * C])
  saveTyped('lengths.npy', '<i8', BigInt64Array.from(lengths, BigInt), [N])
  saveTyped('mask.npy', '<i8', BigInt64Array.from(mask, BigInt), [N, L])
  saveTyped('skip.npy', '<i4', Int32Array.of(1, 0, 2, 0, 9), [N])
  save('large.npy', large.data, large.dims)
  save('large_rows.npy', large.data, [24_000, 96])
  saveTyped('flags.npy', '|b1', Uint8Array.from(flags, Number), [24, 1000])
  writeFileSync(at('statistics.json'), JSON.stringify(statistics))
})

/** A command's options, the call that they stand for, and the type of the file. */
type Case = [input: string, args: string[], x: TensorLike, options: PoolEmbeddingsOptions, dtype: string]

const cases: Case[] = [
  ['hidden', [], hidden, {}, '<f4'],
  ['hidden', ['--lengths', '7,3,0,1,5', '--pooling', 'cls'], hidden, { lengths, pooling: 'cls' }, '<f4'],
  [
    'hidden',
    ['--lengths', file('lengths'), '--skip', '2', '--pooling', 'weighted-mean', '--precision', 'float16'],
    hidden,
    { lengths, skip: 2, pooling: 'weighted-mean', precision: 'float16' },
    '<f2'
  ],
  [
    'hidden',
    [
      ...['--mask', file('mask'), '--skip', '1,0,2,0,9', '--pooling', 'mean,max', '--layer-norm'],
      ...['--weight', file('weight'), '--bias', file('bias'), '--layer-norm-eps', '1e-3'],
      ...['--dimensions', '10', '--precision', 'uint8', '--scale', at('statistics.json')]
    ],
    hidden,
    {
      mask,
      skip: [1, 0, 2, 0, 9],
      pooling: ['mean', 'max'],
      layerNorm: { weight, bias, eps: 1e-3 },
      dimensions: 10,
      precision: 'uint8',
      scale: { ranges }
    },
    '|u1'
  ],
  [
    'hidden',
    ['--skip', file('skip'), '--pooling', 'mean-sqrt', '--no-normalize', '--layer-norm', '--precision', 'bfloat16'],
    hidden,
    { skip: [1, 0, 2, 0, 9], pooling: 'mean-sqrt', normalize: false, layerNorm: true, precision: 'bfloat16' },
    '<u2'
  ],
  [
    'hidden',
    ['--pooling', 'none', '--mask', file('mask'), '--p', '1', '--normalize-scale', '-2', '--eps', '0.1'],
    hidden,
    { pooling: 'none', mask, normalize: { p: 1, scale: -2, eps: 0.1 } },
    '<f4'
  ],
  [
    'rows',
    ['--pooling', 'none', '--rule', 'add-square', '--precision', 'binary', '--bit-order', 'lsb'],
    { data: hidden.data, dims: [N * L, C] },
    { pooling: 'none', normalize: { rule: 'add-square' }, precision: 'binary', bitOrder: 'lsb' },
    '|i1'
  ],
  ['hidden', ['--pooling', 'max', '--precision', 'ubinary'], hidden, { pooling: 'max', precision: 'ubinary' }, '|u1'],
  [
    'hidden',
    ['--dimensions', '8', '--pooling', 'last', '--precision', 'int8', '--scale', 'sqlite-vec'],
    hidden,
    { dimensions: 8, pooling: 'last', precision: 'int8', scale: 'sqlite-vec' },
    '|i1'
  ],
  ['hidden', ['--precision', 'int8', '--scale', 'unit'], hidden, { precision: 'int8', scale: 'unit' }, '|i1'],
  [
    'large',
    [
      ...['--mask', file('flags'), '--skip', prompts.join(), '--pooling', 'mean,last', '--dimensions', '100'],
      ...['--precision', 'int8', '--scale', 'row', '--scales', file('scales'), '--norm', file('norm')]
    ],
    large,
    {
      mask: flags,
      skip: prompts,
      pooling: ['mean', 'last'],
      dimensions: 100,
      precision: 'int8',
      scale: 'row',
      scales: new Float32Array(24),
      norm: new Float32Array(24)
    },
    '|i1'
  ],
  [
    'large_rows',
    ['--pooling', 'none', '--precision', 'float16', '--norm', file('norm')],
    { data: large.data, dims: [24_000, 96] },
    { pooling: 'none', precision: 'float16', norm: new Float32Array(24_000) },
    '<f2'
  ]
]

describe('equality: evenkeel embed', () => {
  it.each([...new Set([backends[0], 'js'])])('gives the bytes of poolEmbeddings of the whole file on %s', name => {
    const commands = cases.map(([input, args], i) => {
      const beside = args.map(arg => arg.replace(/(norm|scales)\.npy$/, `$1${i}${name}.npy`))
      return [file(input), '-o', file(`y${i}${name}`), ...beside]
    })
    const program = `
      import { embed } from './dist/esm/cli/embed.js'
      for (const args of ${JSON.stringify(commands)}) await embed.run(args)`
    const { code, stdout, stderr } = run(program, { EVENKEEL_BACKEND: name })
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout.trim().split('\n')).toHaveLength(cases.length)
    for (const [i, [, args, x, options, dtype]] of cases.entries()) {
      const what = args.join(' ')
      const expected = poolEmbeddings(x, options)
      const { header, bytes } = read(`y${i}${name}.npy`)
      const shape = (dims: readonly number[]) => (dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`)
      const dictionary = (dtype: string, dims: readonly number[]) =>
        `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${shape(dims)}, }`
      expect(header, what).toBe(dictionary(dtype, expected.dims))
      expect(bytes.equals(bytesOf(expected)), what).toBe(true)
      for (const beside of ['norm', 'scales'] as const) {
        const data = options[beside]
        if (!data) continue
        const written = read(`${beside}${i}${name}.npy`)
        expect(written.header).toBe(dictionary('<f4', expected.dims.slice(0, -1)))
        expect(written.bytes.equals(bytesOf({ data })), `${what}: ${beside}`).toBe(true)
      }
    }
  })

  it('reads from a pipe, takes files without samples or positions, and overwrites its own input with --force', async () => {
    expect(shell(`cat ${file('hidden')} | evenkeel embed /dev/stdin -o ${file('pipe')}`).stderr).toBe('')
    expect(read('pipe.npy').bytes.equals(bytesOf(poolEmbeddings(hidden)))).toBe(true)
    for (const dims of [
      [0, L, C],
      [N, 0, C]
    ]) {
      await embed.run([save('empty.npy', new Float32Array(0), dims), '-o', file('empty'), '--force'])
      expect(read('empty.npy').header).toContain(`'shape': (${dims[0]}, ${C})`)
      expect(read('empty.npy').bytes).toEqual(Buffer.alloc(dims[0] * C * 4))
    }
    const own = save('own.npy', hidden.data, hidden.dims)
    await embed.run([own, '-o', own, '--force'])
    expect(read('own.npy').bytes.equals(bytesOf(poolEmbeddings(hidden)))).toBe(true)
  })
})

/** Runs a command that must fail, and leave no file. */
async function fails(command: typeof embed, args: string[], message: string, usage = false): Promise<void> {
  const before = readdirSync(at(''))
  const error = (await command.run(args).catch((error: Error) => error)) as Error
  expect(error, args.join(' ')).toBeInstanceOf(Error)
  expect(error.message).toContain(message)
  expect(error instanceof UsageError, error.message).toBe(usage)
  expect(readdirSync(at(''))).toEqual(before)
}

describe('behaviour: evenkeel embed', () => {
  const out = ['-o', file('unwritten')]
  const fail = (args: string[], message: string) => fails(embed, [file('hidden'), ...out, ...args], message)
  const misuse = (args: string[], message: string) => fails(embed, [file('hidden'), ...out, ...args], message, true)

  it('says what is wrong with its options, before anything is read', async () => {
    await fails(embed, [], 'input expected at least one file, got 0', true)
    await fails(embed, ['a', 'b', ...out], `output expected a folder for 2 inputs, got ${file('unwritten')}`, true)
    await fails(embed, ['a'], 'output expected a file (-o out.npy, or -o - for standard output), got nothing', true)
    await fails(embed, [file('hidden'), '-o', at('b/')], `the output folder ${at('b')} is not there; make it first`)
    await misuse(['--norm', ''], '--norm expected a file (--norm out.npy), got nothing')
    await misuse(['--groups', '1'], 'there is no option --groups')
    await misuse(
      ['--pooling', 'avg'],
      '--pooling expected mean, mean-sqrt, weighted-mean, cls, last, max, none, got "avg"'
    )
    await misuse(
      ['--precision', 'int4'],
      '--precision expected float32, float16, bfloat16, int8, uint8, binary, ubinary'
    )
    await misuse(['--precision', 'int8'], '--precision int8 needs --scale')
    await misuse(['--scale', 'unit'], '--scale needs --precision int8 or uint8')
    await misuse(
      ['--precision', 'uint8', '--scale', 'row'],
      '--scale expected a file of evenkeel calibrate (precision uint8), got row'
    )
    await misuse(['--precision', 'int8', '--scale', 'unit', '--scales', 's.npy'], '--scales needs --scale row')
    await misuse(['--bit-order', 'lsb'], '--bit-order needs --precision binary or ubinary')
    await misuse(['--precision', 'binary', '--bit-order', 'big'], '--bit-order expected msb, lsb, got "big"')
    await misuse(['--weight', 'w.npy'], '--weight needs --layer-norm')
    await misuse(['--layer-norm-eps', '1'], '--layer-norm-eps needs --layer-norm')
    await misuse(['--layer-norm', '--layer-norm-eps', '-1'], '--layer-norm-eps expected a number >= 0, got -1')
    await misuse(['--no-normalize', '--p', '1'], '--no-normalize and --p exclude each other')
    await misuse(['--lengths', '1', '--mask', 'm'], '--lengths and --mask exclude each other')
    await misuse(['--dimensions', '1.5'], '--dimensions expected an integer >= 1, got 1.5')
  })

  it('says what does not fit the file, and writes nothing', async () => {
    const flat = save('flat.npy', hidden.data, [N * L * C])
    await fails(
      embed,
      [file('rows'), ...out],
      'shape expected 3 dimensions (samples, positions, channels), got (35, 12)'
    )
    await fails(embed, [flat, ...out, '--pooling', 'none'], 'shape expected 2 or 3 dimensions, got (420,)')
    await fails(
      embed,
      [file('rows'), ...out, '--pooling', 'none', '--skip', '1'],
      'shape expected 3 dimensions (--skip), got (35, 12)'
    )
    const none = save('none.npy', new Float32Array(0), [2, 3, 0])
    await fails(embed, [none, ...out], 'shape expected at least one channel, got (2, 3, 0)')
    const short = saveAs('short.npy', 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }\n")
    await fails(embed, [short, ...out], 'data expected 24 bytes, got 16')
    await fails(
      embed,
      [file('lengths'), ...out],
      "dtype expected little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2'), got '<i8' (int64); save a.astype('<f4')"
    )
    await fail(['--lengths', '1,2'], '--lengths: shape expected (5,), got (2,)')
    await fail(['--lengths', '1,2,3,4,8'], '--lengths expected integers from 0 to 7, got 8')
    await fail(['--mask', file('flags')], '--mask: shape expected (5, 7), got (24, 1000)')
    await fail(['--mask', flat], '--mask expected 0 and 1, got ')
    await fail(['--skip', '1,2'], '--skip: shape expected (5,), got (2,)')
    const back = saveTyped('back.npy', '<i4', Int32Array.of(0, 0, -1, 0, 0), [N])
    await fail(['--skip', back], '--skip expected integers >= 0, got -1')
    await fail(['--layer-norm', '--weight', file('weight')], '--weight: shape expected (12,), got (24,)')
    await fail(['--dimensions', '13'], 'dimensions expected at most 12 (channels), got 13')
    await fail(['--pooling', 'mean,mean'], 'pooling expected each once')
    await fail(['--pooling', 'mean,none'], "pooling expected 'none' alone")
    await fail(['--p', '1', '--rule', 'add-square'], 'p expected 2 (rule add-square), got 1')
  })

  it('says what is wrong with statistics', async () => {
    const scale = (path: string) => ['--precision', 'int8', '--scale', path]
    const written = (text: string) => {
      writeFileSync(at('odd.json'), text)
      return at('odd.json')
    }
    written('')
    await fail(scale(at('statistics.json')), '--scale: dimensions expected 12, got 10')
    await fail(scale(at('absent.json')), `${at('absent.json')} is not there`)
    const other = 'odd.json: format expected JSON of evenkeel calibrate, got something else'
    await fail(scale(written('{')), other)
    await fail(scale(file('hidden')), other.replace('odd.json', 'hidden.npy'))
    await fail(scale(written('{}')), 'odd.json: EmbeddingStatistics.fromJSON: count expected an array, got undefined')
    await fail(scale(written('null')), 'odd.json: EmbeddingStatistics.fromJSON: json expected an object, got null')
    const empty = calibrateEmbeddings(new Float32Array(0), 12)
    await fail(
      scale(written(JSON.stringify(empty))),
      'odd.json: EmbeddingStatistics.ranges: count[0] expected at least'
    )
  })

  it('overwrites nothing without --force, writes all of its files or none, and keeps modes', async () => {
    writeFileSync(file('mine'), 'mine', { mode: 0o600 })
    const norm = ['--norm', file('mine')]
    await fail(norm, `${file('mine')} exists; --force overwrites it`)
    await misuse(
      ['--norm', file('unwritten')],
      `output expected a file for each result, got ${file('unwritten')} twice`
    )
    await fail(['--norm', at('no/folder.npy')], `the output folder ${at('no')} is not there`)
    expect(readFileSync(file('mine'), 'utf8')).toBe('mine')
    await embed.run([file('hidden'), '-o', file('forced'), ...norm, '--force'])
    expect(existsSync(file('forced'))).toBe(true)
    expect(read('mine.npy').bytes.length).toBe(4 * N)
    expect(statSync(file('mine')).mode & 0o777).toBe(0o600)
  })

  it('leaves nothing where one of its files appears while it works', async () => {
    const program = `
      import files from 'node:fs/promises'
      import { existsSync, writeFileSync } from 'node:fs'
      import { syncBuiltinESMExports } from 'node:module'
      const { link } = files
      files.link = async (from, to) => {
        if (to.endsWith('late.npy')) writeFileSync(to, 'somebody else')
        return link(from, to)
      }
      syncBuiltinESMExports()
      const { embed } = await import('./dist/esm/cli/embed.js')
      await embed.run(${JSON.stringify([file('hidden'), '-o', file('first'), '--norm', file('late')])})`
    const before = readdirSync(at(''))
    expect(run(program).stderr).toContain('late.npy exists; --force overwrites it')
    expect(readFileSync(file('late'), 'utf8')).toBe('somebody else')
    rmSync(file('late'))
    expect(readdirSync(at(''))).toEqual(before)
  })

  it('shows little of an odd file, which the command line escapes', async () => {
    const odd = '\u001b[2J\nevenkeel: all is well'.repeat(1000)
    writeFileSync(at('odd.json'), JSON.stringify({ count: [odd] }))
    const args = [file('hidden'), ...out, '--precision', 'int8', '--scale', at('odd.json')]
    const error: Error = await embed.run(args).then(
      () => new Error(),
      error => error
    )
    expect(printable(error.message)).toMatch(/^[^\p{Cc}]{20,500}$/u)
  })
})

/** What calibrate prints. */
async function printed(args: string[]): Promise<string[]> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  try {
    expect(await calibrate.run(args)).toBe(0)
    return log.mock.calls.map(([line]) => line)
  } finally {
    log.mockRestore()
  }
}

describe('behaviour: evenkeel calibrate', () => {
  it('merges files and their blocks in order, and embed and fromJSON read what it writes', async () => {
    const rows = { data: large.data, dims: [24_000, 96] }
    const other = save('other.npy', fill(normal, 300 * 96, 9), [3, 100, 96])
    const lines = await printed([file('large'), other, '-o', at('both.json')])
    expect(lines).toEqual(['count 24300, dimensions 96'])
    const written = EmbeddingStatistics.fromJSON(JSON.parse(readFileSync(at('both.json'), 'utf8')))
    const both = new Float32Array(rows.data.length + 300 * 96)
    both.set(rows.data)
    both.set(fill(normal, 300 * 96, 9), rows.data.length)
    const whole = calibrateEmbeddings(both, 96)
    for (const name of ['count', 'nan', 'min', 'max'] as const) expect(written[name], name).toEqual(whole[name])
    written.mean.forEach((mean, c) => {
      expect(mean).toBeCloseTo(whole.mean[c], 12)
    })
    // Blocks of 10922 rows.
    const block = (from: number, to: number) => calibrateEmbeddings(rows.data.subarray(from * 96, to * 96), 96)
    const parts = [block(0, 10_922), block(10_922, 21_844), block(21_844, 24_000)]
    const last = calibrateEmbeddings(fill(normal, 300 * 96, 9), 96)
    const expected = EmbeddingStatistics.merge(EmbeddingStatistics.merge(...parts), last)
    expect(written.toBytes()).toEqual(expected.toBytes())

    const scale = ['--precision', 'int8', '--scale', at('both.json')]
    await embed.run([file('large'), '-o', file('codes'), ...scale])
    const codes = poolEmbeddings(large, { precision: 'int8', scale: { ranges: whole.ranges } })
    expect(read('codes.npy').bytes.equals(bytesOf(codes))).toBe(true)
  })

  it('counts NaN and says where there are no numbers', async () => {
    const data = Float32Array.of(1, Number.NaN, 2, Number.NaN, Number.NaN, Number.NaN)
    const lines = await printed([save('nan.npy', data, [3, 2]), '-o', at('nan.json')])
    expect(lines).toEqual([
      'count 3, dimensions 2, NaN 4 in 2 dimensions, left out\ndimension 1 has no numbers: these are no statistics for --scale'
    ])
    const { count, min, max } = EmbeddingStatistics.fromJSON(JSON.parse(readFileSync(at('nan.json'), 'utf8')))
    expect([count.join(), min.join(), max.join()]).toEqual(['2,0', '1,Infinity', '2,-Infinity'])
  })

  it('says what is wrong, and writes nothing', async () => {
    const out = ['-o', at('unwritten.json')]
    const fail = (args: string[], message: string, usage = false) => fails(calibrate, args, message, usage)
    await fail(out, 'input expected at least one file, got 0', true)
    await fail(
      [file('hidden')],
      'output expected a file (-o statistics.json, or -o - for standard output), got nothing',
      true
    )
    await fail([file('hidden'), '-o', at('statistics.json')], 'statistics.json exists; --force overwrites it')
    await fail([file('hidden'), '--scale', 'x', ...out], 'there is no option --scale', true)
    const last = `${file('large')}: last dimension expected 12 (that of ${file('hidden')}), got 96`
    await fail([file('hidden'), file('large'), ...out], last)
    await fail([save('point.npy', new Float32Array(1), []), ...out], 'shape expected a last dimension >= 1, got ()')
    await fail(
      [file('mask'), ...out],
      "dtype expected little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2'), got '<i8' (int64); save a.astype('<f4')"
    )
    await fail([file('hidden'), at('absent.npy'), ...out], `${at('absent.npy')} is not there`)
    const infinite = save('infinite.npy', Float32Array.of(1, 2, 3, -Infinity), [2, 2])
    await fail(
      [infinite, ...out],
      `${infinite}: calibrateEmbeddings: x in dimension 1 expected finite numbers, got -Inf`
    )
  })
})
