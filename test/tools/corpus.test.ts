import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { apply } from '../../dist/esm/cli/apply.js'
import { corpus } from '../../dist/esm/cli/corpus.js'
import { embed } from '../../dist/esm/cli/embed.js'
import {
  BatchStatistics,
  batchNorm,
  batchStatistics,
  calibrateEmbeddings,
  EmbeddingStatistics,
  poolEmbeddings,
  quantizeEmbeddings
} from '../../dist/esm/index.js'
import { npyFolder } from '../support/npy_folder.ts'
import { long, node, root } from '../support/process.ts'

const { at, save, saveTyped, read } = npyFolder()
const rows = 30
const channels = 24
const floats = (size: number, phase: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7 + phase))

const masks = [0, 1, 2, 3].map(i => Uint8Array.from({ length: 20 }, (_, j) => Number((j + i) % 3 > 0)))

/** Shards of rows in folders of their own, so that the order of paths is not that of base names. */
const shards = [3, 1, 2, 0].map((name, i) => {
  mkdirSync(at(`${i}`))
  const data = floats((rows + i) * channels, name).map(v => v * (i + 1) + name)
  save(`${i}/shard${name}.npy`, data, [rows + i, channels])
  saveTyped(`${i}/hidden${name}.npy`, '<f4', floats(5 * 4 * channels, name), [5, 4, channels])
  saveTyped(`mask-hidden${name}.npy`, '|b1', masks[i], [5, 4])
  return { name: `shard${name}.npy`, hidden: `hidden${name}.npy`, folder: `${i}`, phase: name, data }
})
save('weight.npy', floats(channels, 9), [channels])
const shardPattern = at('[0-3]/shard*.npy')
const hiddenPattern = at('[0-3]/hidden*.npy')

interface Event {
  readonly event: string
  readonly [name: string]: unknown
}

/** Runs the command in this process: its events, what it said on standard error, its exit code. */
async function run(...args: string[]): Promise<{ code: number; events: Event[]; errors: string }> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  const error = vi.spyOn(console, 'error').mockImplementation(() => {})
  try {
    // The start of a thread is what takes time here.
    const code = await corpus.run(['run', '--jobs', '1', ...args, '--json'])
    const lines = log.mock.calls.map(([line]) => JSON.parse(line as string) as Event)
    return { code, events: lines, errors: error.mock.calls.join('\n') }
  } finally {
    log.mockRestore()
    error.mockRestore()
  }
}

const done = (events: readonly Event[]) => events.filter(({ event }) => event === 'shard')
const bytes = (name: string) => readFileSync(at(name))
const npyFiles = (folder: string) =>
  readdirSync(at(folder))
    .filter(name => name.endsWith('.npy'))
    .sort()

describe('equality: evenkeel corpus run', () => {
  const ops: [op: string, options: string[]][] = [
    ['layer-norm', ['--weight', at('weight.npy'), '--eps', '1e-3']],
    ['batch-norm', ['--running-mean', at('weight.npy'), '--running-var', at('variance.npy')]],
    ['rms-norm', ['--weight', at('weight.npy'), '--weight-offset', '1']],
    ['normalize', ['--p', '1', '--scale', '-2']],
    ['group-norm', ['--groups', '4']],
    ['instance-norm', []],
    ['local-response-norm', ['--size', '3']]
  ]
  // All go the same way.
  it.each(ops.slice(0, long ? ops.length : 2))(
    '%s writes the bytes of apply, flat, each beside its manifest',
    async (op, options) => {
      save('variance.npy', floats(channels, 1).map(Math.abs), [channels])
      expect((await run(op, '--in', shardPattern, '--out-dir', at(op), ...options)).code).toBe(0)
      const names = shards.map(({ name }) => name).sort()
      expect(readdirSync(at(op)).sort()).toEqual(names.flatMap(name => [name, `${name}.manifest.json`]).sort())
      for (const { folder, name } of shards) {
        await apply.run([op, at(`${folder}/${name}`), '-o', at('single.npy'), '--force', ...options])
        expect(bytes(`${op}/${name}`).equals(bytes('single.npy')), name).toBe(true)
      }
    }
  )

  it('embed writes the bytes of embed, with a mask and a file of norms for each shard', async () => {
    const options = (name: string, norm: string) => [
      ...['--mask', at(`mask-${name}.npy`), '--norm', at(norm), '--pooling', 'mean,max', '--precision', 'ubinary']
    ]
    const { code } = await run(
      'embed',
      hiddenPattern,
      '--out-dir',
      at('embed'),
      ...options('{name}', 'norms/{name}.npy')
    )
    expect(code).toBe(0)
    for (const { folder, hidden } of shards) {
      const name = hidden.slice(0, -4)
      await embed.run([at(`${folder}/${hidden}`), '-o', at('one.npy'), '--force', ...options(name, 'one_norm.npy')])
      expect(bytes(`embed/${hidden}`).equals(bytes('one.npy')), name).toBe(true)
      expect(bytes(`norms/${hidden}`).equals(bytes('one_norm.npy')), name).toBe(true)
    }
  })

  it('batch-norm --training takes the statistics of all shards, merged in the order of their paths', async () => {
    const statistics = BatchStatistics.merge(
      ...shards.map(({ data }) => batchStatistics({ data, dims: [data.length / channels, channels] }))
    )
    const expected = ({ data }: (typeof shards)[0]) =>
      batchNorm({ data, dims: [data.length / channels, channels] }, { training: true, statistics }).data as Float32Array
    for (const [folder, ...more] of [
      ['training', '--jobs', '1', '--in', at('3/shard*.npy'), '--in', at('[0-2]/shard*.npy')],
      ['training3', '--jobs', '3', '--in', shardPattern]
    ]) {
      expect((await run('batch-norm', '--training', '--out-dir', at(folder), ...more)).code).toBe(0)
      for (const shard of shards) {
        const { bytes: got } = read(`${folder}/${shard.name}`)
        expect(got.equals(new Uint8Array(expected(shard).buffer)), shard.name).toBe(true)
      }
      const merged = BatchStatistics.fromJSON(JSON.parse(bytes(`${folder}/statistics.json`).toString()))
      expect(merged.toBytes()).toEqual(statistics.toBytes())
    }
  })

  it('embed --scale ranges quantises with the ranges of all shards, and calibrate finds them', async () => {
    const statistics = EmbeddingStatistics.merge(...shards.map(({ data }) => calibrateEmbeddings(data, channels)))
    const options = ['--pooling', 'none', '--no-normalize', '--precision', 'int8', '--scale', 'ranges']
    expect((await run('embed', shardPattern, '--out-dir', at('codes'), ...options)).code).toBe(0)
    for (const { name, data } of shards) {
      const codes = quantizeEmbeddings(data, channels, { precision: 'int8', scale: { ranges: statistics.ranges } })
      expect(read(`codes/${name}`).bytes.equals(new Uint8Array((codes as Int8Array).buffer)), name).toBe(true)
    }
    // Each with its mask; the ranges are those of what is about to become codes.
    const masked = ['--mask', at('mask-{name}.npy'), '--precision', 'uint8', '--scale', 'ranges']
    expect((await run('embed', hiddenPattern, '--out-dir', at('masked'), ...masked)).code).toBe(0)
    const hidden = shards.map(({ hidden }, i) => ({
      x: { data: floats(5 * 4 * channels, shards[i].phase), dims: [5, 4, channels] },
      mask: masks[i],
      name: hidden
    }))
    const parts = hidden.map(({ x, mask }) =>
      calibrateEmbeddings(poolEmbeddings(x, { mask }).data as Float32Array, channels)
    )
    const { ranges } = EmbeddingStatistics.merge(...parts)
    for (const { x, mask, name } of hidden) {
      const codes = poolEmbeddings(x, { mask, precision: 'uint8', scale: { ranges } }).data as Uint8Array
      expect(read(`masked/${name}`).bytes.equals(codes), name).toBe(true)
    }
    expect((await run('calibrate', shardPattern, '--out-dir', at('calibrated'))).code).toBe(0)
    for (const folder of ['codes', 'calibrated']) {
      const text = bytes(`${folder}/statistics.json`).toString()
      expect(EmbeddingStatistics.fromJSON(JSON.parse(text)).toBytes()).toEqual(statistics.toBytes())
    }
    expect(npyFiles('calibrated')).toEqual([])
  })
})

describe('behaviour: evenkeel corpus run', () => {
  it('does again only what is missing or changed', async () => {
    mkdirSync(at('changing'))
    for (const { folder, name } of shards) cpSync(at(`${folder}/${name}`), at(`changing/${name}`))
    save('scale.npy', floats(channels, 9), [channels])
    const again = async (...more: string[]) => {
      const options = ['--in', at('changing/*.npy'), '--out-dir', at('again'), '--weight', at('scale.npy'), ...more]
      const { code, events } = await run('layer-norm', ...options)
      expect(code).toBe(0)
      return done(events).map(({ input, kept }) => `${kept ? 'kept ' : ''}${(input as string).slice(-10, -4)}`)
    }
    expect(await again()).toHaveLength(4)
    const first = npyFiles('again').map(name => bytes(`again/${name}`))
    expect(await again()).toEqual([])
    // Another time, the same bytes: looked at once.
    utimesSync(at('changing/shard0.npy'), 1, 1)
    expect(await again()).toEqual(['kept shard0'])
    expect(await again()).toEqual([])
    rmSync(at('again/shard1.npy'))
    const codes = bytes('again/shard2.npy')
    codes[codes.length - 1] ^= 1
    writeFileSync(at('again/shard2.npy'), codes)
    rmSync(at('again/shard3.npy.manifest.json'))
    await expect(again()).rejects.toThrow(/shard3\.npy exists, and no manifest .*--force/)
    expect((await again('--force')).sort()).toEqual(['shard1', 'shard2', 'shard3'])
    expect(npyFiles('again').map(name => bytes(`again/${name}`))).toEqual(first)
    // The same size and time, other bytes.
    const now = new Date(2e12)
    utimesSync(at('again/shard0.npy'), now, now)
    expect(await again()).toEqual(['kept shard0'])
    writeFileSync(at('again/shard0.npy'), codes.fill(0, 200))
    utimesSync(at('again/shard0.npy'), now, now)
    expect((await again('--verify')).sort()).toContain('shard0')
    expect(npyFiles('again').map(name => bytes(`again/${name}`))).toEqual(first)
    save('scale.npy', floats(channels, 8), [channels])
    expect(await again()).toHaveLength(4)
    expect(await again('--eps', '1')).toHaveLength(4)
    rmSync(at('changing/shard3.npy'))
    const options = ['--in', at('changing/*.npy'), '--out-dir', at('again'), '--weight', at('scale.npy'), '--eps', '1']
    const { events, errors } = await run('layer-norm', ...options)
    expect(errors).toBe(`evenkeel: warning: ${at('again')} has results of no shard of this run: shard3.npy`)
    expect(events).toContainEqual({ event: 'warning', text: errors.slice('evenkeel: warning: '.length) })
  })

  it('writes a manifest that says what was made of what, by whom', async () => {
    await run('rms-norm', '--in', shardPattern, '--out-dir', at('manifest'), '--weight', at('weight.npy'))
    const manifest = JSON.parse(bytes('manifest/shard1.npy.manifest.json').toString())
    expect(manifest).toMatchObject({
      evenkeel: JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version,
      op: 'rms-norm',
      options: { weight: at('weight.npy') },
      inputs: { input: { path: at('1/shard1.npy') }, weight: { bytes: 128 + 4 * channels } },
      outputs: { output: { path: at('manifest/shard1.npy'), sha256: expect.stringMatching(/^[\da-f]{64}$/) } },
      rows: rows + 1,
      seconds: expect.any(Number),
      worker: expect.stringContaining(`:${process.pid}`)
    })
  })

  it('escapes what a broken shard would do to a terminal', async () => {
    mkdirSync(at('hostile'))
    const text = bytes('1/shard1.npy').toString('latin1').replace("'<f4'", "'\x1bf4'")
    writeFileSync(at('hostile/shard1.npy'), text, 'latin1')
    const { code, errors } = await run('layer-norm', '--in', at('hostile/*.npy'), '--out-dir', at('hostile-out'))
    expect(code).toBe(1)
    expect(errors).toContain("got '\\u001bf4'")
    expect(errors).not.toContain('\x1b')
  })

  it('names broken shards, does the others, and goes on when they are mended', async () => {
    mkdirSync(at('broken'))
    for (const { folder, name } of shards) cpSync(at(`${folder}/${name}`), at(`broken/${name}`))
    writeFileSync(at('broken/shard1.npy'), bytes('1/shard1.npy').subarray(0, 300))
    writeFileSync(at('broken/shard2.npy'), 'no array')
    const one = await run('layer-norm', '--in', at('broken/*.npy'), '--out-dir', at('others'))
    expect(one.code).toBe(1)
    expect(one.errors).toMatch(/broken\/shard1\.npy: data expected \d+ bytes, got/)
    expect(one.errors).toMatch(/broken\/shard2\.npy: format expected \.npy/)
    expect(npyFiles('others')).toEqual(['shard0.npy', 'shard3.npy'])
    // Statistics of all shards are not those of the others.
    const training = ['batch-norm', '--training', '--in', at('broken/*.npy'), '--out-dir', at('none')]
    const two = await run(...training)
    expect(two.code).toBe(1)
    expect(npyFiles('none')).toEqual([])
    for (const name of ['shard1.npy', 'shard2.npy']) cpSync(at(`0/shard3.npy`), at(`broken/${name}`))
    const mended = await run(...training)
    expect(mended.code).toBe(0)
    expect(done(mended.events).filter(({ phase }) => phase === 'statistics')).toHaveLength(2)
    expect(npyFiles('none')).toHaveLength(4)
  })

  it('refuses before anything starts', async () => {
    mkdirSync(at('twice'))
    cpSync(at('0/shard3.npy'), at('twice/shard3.npy'))
    writeFileSync(at('twice/data.bin'), '')
    mkdirSync(at('used'))
    writeFileSync(at('used/shard3.npy'), 'mine')
    const refuse = async (expected: RegExp, ...args: string[]) => expect(run(...args)).rejects.toThrow(expected)
    const to = ['--out-dir', at('refused')]
    await refuse(
      /base names of their own, got .*0\/shard3\.npy and .*twice\/shard3\.npy/,
      'normalize',
      at('{0,twice}/shard3.npy'),
      ...to
    )
    await refuse(
      /another folder than that of .*shard3/,
      'normalize',
      at('0/shard*.npy'),
      '--out-dir',
      at('0'),
      '--force'
    )
    await refuse(/used\/shard3\.npy exists/, 'normalize', at('0/shard*.npy'), '--out-dir', at('used'))
    await refuse(/got none for .*\*\.nope/, 'normalize', at('*.nope'), ...to)
    await refuse(/end in \.npy, \.parquet, \.arrow, got .*data\.bin/, 'normalize', at('twice/data.bin'), ...to)
    await refuse(/--norm expected \{name\}/, 'embed', hiddenPattern, ...to, '--norm', at('norm.npy'))
    await refuse(/--norm expected a file outside/, 'embed', hiddenPattern, ...to, '--norm', at('refused/{name}.npy'))
    await refuse(/op expected layer-norm, .*calibrate \(nearest: normalize\), got "norm"/, 'norm', shardPattern, ...to)
    await refuse(/layer-norm has no --groups/, 'layer-norm', shardPattern, ...to, '--groups', '2')
    await refuse(/embed has no --groups/, 'embed', hiddenPattern, ...to, '--groups', '2')
    await refuse(/calibrate has no --eps/, 'calibrate', shardPattern, ...to, '--eps', '2')
    await refuse(/--in expected a pattern/, 'layer-norm', ...to)
    await refuse(/--out-dir expected a folder/, 'layer-norm', shardPattern)
    await refuse(/--engine expected bullmq, got "x"/, 'layer-norm', shardPattern, ...to, '--engine', 'x')
    await refuse(/--redis needs --engine/, 'layer-norm', shardPattern, ...to, '--redis', 'redis://h')
    await refuse(
      /corpus run has no --output; here it is called --out-dir$/,
      'layer-norm',
      shardPattern,
      ...to,
      '-o',
      'x'
    )
    expect(existsSync(at('refused'))).toBe(false)
    expect(bytes('used/shard3.npy').toString()).toBe('mine')
  })

  it('says what to install where the packages of the queue are not, and shows no password', async () => {
    mkdirSync(at('alone'))
    cpSync(join(root, 'dist/esm'), at('alone/dist/esm'), { recursive: true })
    cpSync(join(root, 'package.json'), at('alone/package.json'))
    const missing = node(['dist/esm/cli/index.js', 'corpus', 'work', '--redis', 'redis://h:1'], {}, at('alone'))
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('npm install bullmq ioredis') })
    const wrong = corpus.run(['status', '--redis', 'http://user:s3cret@h'])
    await expect(wrong).rejects.toThrow(/^--redis expected redis:(?!.*s3cret)/)
  })

  /** Runs it in a process of its own. */
  function start(folder: string) {
    const to = ['--out-dir', at(folder), '--weight', at('weight.npy')]
    const args = ['dist/esm/cli/index.js', 'corpus', 'run', 'layer-norm', '--in', at('large/*.npy'), ...to]
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'ignore' })
    return { child, ended: new Promise(resolve => child.once('exit', (code, signal) => resolve(code ?? signal))) }
  }

  it('leaves no half of a file when it is interrupted or killed, and goes on', async () => {
    mkdirSync(at('large'))
    const rows = Math.floor(2 ** 19 / channels)
    const large = floats(rows * channels, 1)
    for (let i = 0; i < 12; i++) save(`large/${i}.npy`, large, [rows, channels])
    mkdirSync(at('stopped'))
    /** Sends the signal when one more shard is done and the next one is not. */
    const stopped = async (signal: NodeJS.Signals) => {
      const before = npyFiles('stopped').length
      const { child, ended } = start('stopped')
      const works = () =>
        npyFiles('stopped').length > before && readdirSync(at('stopped')).some(name => name.endsWith('.tmp'))
      while (!works()) await sleep(1)
      child.kill(signal)
      return ended
    }
    expect(await stopped('SIGINT')).toBe('SIGINT')
    expect(readdirSync(at('stopped')).filter(name => name.endsWith('.tmp'))).toEqual([])
    expect(await stopped('SIGKILL')).toBe('SIGKILL')
    for (const name of readdirSync(at('stopped'))) if (name.endsWith('.tmp')) utimesSync(at(`stopped/${name}`), 1, 1)
    const options = ['--in', at('large/*.npy'), '--weight', at('weight.npy')]
    const rest = await run('layer-norm', ...options, '--out-dir', at('stopped'))
    expect(rest.code).toBe(0)
    expect(done(rest.events).length).toBeLessThan(12)
    await apply.run([
      'layer-norm',
      at('large/0.npy'),
      '-o',
      at('one.npy'),
      '--force',
      '--quiet',
      '--weight',
      at('weight.npy')
    ])
    const names = readdirSync(at('stopped')).filter(name => !name.endsWith('.manifest.json'))
    expect(names).toHaveLength(12)
    for (const name of names) expect(bytes(`stopped/${name}`).equals(bytes('one.npy')), name).toBe(true)
  })

  it.runIf(long)('shares the shards of two runs at once, with the same bytes', async () => {
    const both = [start('shared'), start('shared')]
    expect(await Promise.all(both.map(({ ended }) => ended))).toEqual([0, 0])
    expect(readdirSync(at('shared'))).toEqual(readdirSync(at('stopped')))
    for (const name of npyFiles('shared'))
      expect(bytes(`shared/${name}`).equals(bytes(`stopped/${name}`)), name).toBe(true)
  })
})
