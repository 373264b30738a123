// How the command line behaves towards shells and people: standard streams, names of results, several inputs, parts of a file,
// what is printed. Most commands run in this process, by the functions that the command line calls.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { apply } from '../../dist/esm/cli/apply.js'
import { calibrate } from '../../dist/esm/cli/calibrate.js'
import { embed } from '../../dist/esm/cli/embed.js'
import { progressBar } from '../../dist/esm/cli/progress.js'
import { temporaryName } from '../../dist/esm/cli/temporary.js'
import { backend, getNumThreads, layerNorm, poolEmbeddings } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { failureIn } from '../support/command.ts'
import { npyFolder } from '../support/npy_folder.ts'
import { root, shell } from '../support/process.ts'

const { at, save, saveTyped, load, read } = npyFolder()
const x = fill(normal, 6 * 3 * 4, 1)
const dims = [6, 3, 4]

const out: string[] = []
const err: string[] = []
beforeEach(() => {
  out.length = 0
  err.length = 0
  save('x.npy', x, dims)
  vi.spyOn(console, 'log').mockImplementation(line => void out.push(line))
  vi.spyOn(console, 'error').mockImplementation(line => void err.push(line))
})
afterEach(() => vi.restoreAllMocks())

const failure = failureIn(at(''))

describe('equality: standard input and output', () => {
  const y = layerNorm(x, 4)
  it.each(['-', '/dev/stdout'])('- is standard input and %s standard output, also into a file', name => {
    expect(shell(`cat ${at('x.npy')} | evenkeel apply layer-norm - -o ${name} > ${at('std.npy')}`)).toMatchObject({
      code: 0
    })
    expectSameBits(load('std.npy'), y, name)
  })

  it('is a socket where Node.js started it; what is printed goes to standard error', () => {
    const args = ['dist/esm/cli/index.js', 'apply', 'layer-norm', '-', '-o', '-', '--json']
    // Without the warning that there is no native binary.
    const env = { ...process.env, NODE_NO_WARNINGS: '1' }
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, env, input: readFileSync(at('x.npy')) })
    writeFileSync(at('std.npy'), stdout)
    expectSameBits(load('std.npy'), y, 'socket')
    expect(JSON.parse(String(stderr))).toMatchObject({ input: 'standard input', output: '-', rows: 18 })
  })

  it('a reader that ends early is a message, not a crash', () => {
    const large = save('large.npy', new Float32Array(2 ** 20), [2 ** 10, 2 ** 10])
    const reader = `"${process.execPath}" -e "process.stdin.once('data', () => process.exit())"`
    const { stderr } = shell(`cat ${large} | evenkeel apply layer-norm - -o - --quiet | ${reader}`)
    expect(stderr).toBe('evenkeel: standard output was closed before all was written\n')
  })

  it('is read once', () => {
    const twice = `cat ${at('x.npy')} | evenkeel apply layer-norm - --residual - -o ${at('twice.npy')}`
    expect(shell(twice).stderr).toContain('- expected once, got it twice: standard input can be read once')
    expect(existsSync(at('twice.npy'))).toBe(false)
  })
})

describe('behaviour: the names of results', () => {
  it.each(['csv', 'npz', 'parquet', 'safetensors', 'JSON'])('of another format are refused: .%s', async end => {
    const name = at(`y.${end}`)
    const said = `expected a name that ends in .npy, got ${name}: no .${end.toLowerCase()} file is written`
    expect(await failure(apply, ['layer-norm', at('x.npy'), '-o', name], true)).toBe(`output ${said}`)
    const beside = ['-o', at('y.npy'), '--norm', name]
    expect(await failure(embed, [at('x.npy'), ...beside], true)).toBe(`--norm ${said}`)
  })

  it('of calibrate end in .json', async () => {
    expect(await failure(calibrate, [at('x.npy'), '-o', at('s.npy')], true)).toBe(
      `output expected a name that ends in .json, got ${at('s.npy')}: no .npy file is written`
    )
  })

  it('may have no end, or one that is no format', async () => {
    for (const name of ['plain', 'y.part', 'y.npy.bak']) {
      await apply.run(['layer-norm', at('x.npy'), '-o', at(name)])
      expectSameBits(load(name), layerNorm(x, 4), name)
    }
  })

  it('in a folder that is not there name it', async () => {
    const folder = at('no/where')
    expect(await failure(apply, ['layer-norm', at('x.npy'), '-o', join(folder, 'y.npy')], false)).toBe(
      `the output folder ${folder} is not there; make it first: mkdir -p ${folder}`
    )
    expect(await failure(apply, ['layer-norm', at('x.npy'), '-o', join(at('x.npy'), 'y.npy')], false)).toBe(
      `output expected a folder, got the file ${at('x.npy')}`
    )
  })
})

describe('behaviour: several inputs', () => {
  it('go into a folder, each by its name', async () => {
    mkdirSync(at('many'))
    const other = x.map(value => 2 * value + 1)
    save('other.npy', other, dims)
    await apply.run(['layer-norm', at('x.npy'), at('other.npy'), '-o', at('many')])
    expectSameBits(load('many/x.npy'), layerNorm(x, 4), 'x')
    expectSameBits(load('many/other.npy'), layerNorm(other, 4), 'other')
    mkdirSync(at('norms'))
    await embed.run([at('x.npy'), at('other.npy'), '-o', `${at('many')}/`, '--norm', at('norms'), '--force'])
    expectSameBits(load('many/other.npy'), poolEmbeddings({ data: other, dims }).data, 'embeddings')
    expect(read('norms/x.npy').bytes.length).toBe(24)
    expect(out.map(line => line.replace(/:.*/, ''))).toEqual(
      ['x', 'other', 'x', 'other'].map(name => join(at('many'), `${name}.npy`))
    )
  })

  it('need one, and a place for each, before any is done', async () => {
    const two = [at('x.npy'), at('other.npy')]
    expect(await failure(apply, ['layer-norm', ...two, '-o', at('one.npy')], true)).toBe(
      `output expected a folder for 2 inputs, got ${at('one.npy')}; make a folder, and write / behind its name`
    )
    mkdirSync(at('full'))
    writeFileSync(at('full/other.npy'), '')
    expect(await failure(apply, ['layer-norm', ...two, '-o', at('full')], false)).toContain('other.npy exists; --force')
    const twice = [at('x.npy'), at('x.npy')]
    expect(await failure(apply, ['layer-norm', ...twice, '-o', at('full')], true)).toContain(
      `output expected a file for each result, got ${at('full/x.npy')} twice`
    )
    expect(await failure(apply, ['layer-norm', '-', '-o', at('full')], true)).toBe(
      `output expected a file for -, which has no name, got ${at('full')}`
    )
  })
})

describe('equality: --rows', () => {
  const tensor = (first: number, end: number) => ({ data: x.slice(12 * first, 12 * end), dims: [end - first, 3, 4] })
  const slices: [text: string, first: number, end: number][] = [
    ['2:4', 2, 4],
    [':3', 0, 3],
    ['4:', 4, 6],
    [':', 0, 6],
    ['-2:', 4, 6],
    ['-4:-1', 2, 5],
    ['5:100', 5, 6],
    ['-100:1', 0, 1],
    ['4:2', 4, 4]
  ]
  it.each(slices)('%s is what Python takes', async (text, first, end) => {
    await apply.run(['layer-norm', at('x.npy'), '--rows', text, '-o', at('y.npy'), '--force'])
    expect(read('y.npy').header).toContain(`'shape': (${end - first}, 3, 4)`)
    expectSameBits(load('y.npy'), layerNorm(tensor(first, end).data, 4), text)
  })

  it('takes what belongs to the rows: lengths, mask, residual, skip', async () => {
    const lengths = [3, 1, 2, 0, 3, 1]
    const part = tensor(2, 5)
    const r = x.map(value => 3 - value)
    const residual = r.slice(24, 60)
    const args = ['--rows', '2:5', '-o', at('y.npy'), '--force']
    await apply.run([
      'layer-norm',
      at('x.npy'),
      '--lengths',
      lengths.join(),
      '--residual',
      save('r.npy', r, dims),
      ...args
    ])
    expectSameBits(
      load('y.npy'),
      layerNorm(part, 4, { lengths: [2, 0, 3], residual: { ...part, data: residual } }).data,
      'rows'
    )
    const flags = Uint8Array.from({ length: 18 }, (_, i) => Number(i % 5 < 3))
    const mask = saveTyped('m.npy', '|b1', flags, [6, 3])
    await apply.run([
      'layer-norm',
      at('x.npy'),
      '--axis',
      '1',
      '--mask',
      saveTyped('m2.npy', '|b1', new Uint8Array(24).fill(1), [6, 4]),
      ...args
    ])
    expectSameBits(load('y.npy'), layerNorm(part, { axis: 1 }).data, 'axis 1')
    await apply.run(['layer-norm', at('x.npy'), '--axis', '0', ...args])
    expectSameBits(load('y.npy'), layerNorm(part, { axis: 0 }).data, 'axis 0')
    await embed.run([at('x.npy'), '--mask', mask, '--skip', '0,1,1,0,0,1', ...args])
    const pooled = poolEmbeddings(part, { mask: Array.from(flags.subarray(6, 15)), skip: [1, 0, 0] })
    expectSameBits(load('y.npy'), pooled.data, 'embed')
    const piped = shell(`cat ${at('x.npy')} | evenkeel apply layer-norm - --rows -3: -o ${at('piped.npy')}`)
    expect(piped.stderr).toBe('')
    expectSameBits(load('piped.npy'), layerNorm(tensor(3, 6).data, 4), 'pipe')
  })

  it.each(['3', 'a:b', '1:2:3', '-:', '1.5:2'])('refuses %j', async text => {
    const args = ['layer-norm', at('x.npy'), '-o', at('y2.npy'), `--rows=${text}`]
    expect(await failure(apply, args, true)).toBe(`--rows expected a:b, e.g. 100:200, :100 or -10:, got "${text}"`)
  })
})

describe('behaviour: what is printed', () => {
  it('is a line about the work, JSON of it, or nothing', async () => {
    const args = ['layer-norm', at('x.npy'), '-o', at('y.npy'), '--force']
    await apply.run(args)
    expect(out).toHaveLength(1)
    expect(out[0]).toMatch(new RegExp(`^${at('y.npy')}: 18 rows, \\d+\\.\\d\\d s, \\d+\\.\\d\\d GB/s, ${backend}$`))
    await apply.run([...args, '--json'])
    const work = JSON.parse(out[1])
    expect(work).toMatchObject({
      command: 'apply',
      input: at('x.npy'),
      output: at('y.npy'),
      rows: 18,
      bytes: 8 * x.length,
      backend,
      threads: getNumThreads()
    })
    expect(work.gigabytesPerSecond).toBeCloseTo(work.bytes / work.seconds / 1e9, 12)
    await apply.run([...args, '--quiet'])
    await embed.run([at('x.npy'), '-o', at('y.npy'), '--force', '--json', '--precision', 'float16'])
    expect(JSON.parse(out[2])).toMatchObject({ command: 'embed', rows: 18, bytes: 4 * x.length + 2 * 6 * 4 })
    await calibrate.run([at('x.npy'), '-o', at('s.json'), '--json'])
    expect(JSON.parse(out[3])).toEqual({ command: 'calibrate', count: 18, dimensions: 4, nan: 0, withoutNumbers: [] })
    await calibrate.run([at('x.npy'), '-o', at('s.json'), '--force', '--quiet'])
    expect([out.length, err.length]).toEqual([4, 0])
  })

  it('is progress without a terminal: a line in a while, and none with --quiet', async () => {
    const bar = await progressBar(200, { name: 'a\u001b.npy', every: 0 })
    for (const done of [0, 50, 100, 200]) bar.update(done)
    bar.stop()
    expect(err).toHaveLength(2)
    expect(err[0]).toMatch(/^a\\u001b\.npy: 25 %, \d+ s left$/)
    const [seldom, quiet] = [await progressBar(2), await progressBar(2, { quiet: true, every: 0 })]
    seldom.update(1)
    quiet.update(1)
    expect(err).toHaveLength(2)
  })
})

describe('behaviour: what killed runs left', () => {
  it('is removed by the next run of the same output, which tells; what others write is left', async () => {
    const ended = spawnSync(process.execPath, ['-e', '']).pid
    const own = temporaryName(at('left.npy'))
    const names = {
      dead: own.replace(`-${process.pid}.`, `-${ended}.`),
      alive: own.replace(`-${process.pid}.`, `-${process.ppid}.`),
      elsewhere: own.replace(/npy\.\w{8}-/, 'npy.00000000-'),
      longElsewhere: own.replace(/npy\.\w{8}-/, 'npy.00000001-'),
      another: own.replace('left.npy.', 'other.npy.').replace(`-${process.pid}.`, `-${ended}.`)
    }
    for (const name of Object.values(names)) writeFileSync(name, '')
    utimesSync(names.longElsewhere, 0, 0)
    await apply.run(['layer-norm', at('x.npy'), '-o', at('left.npy')])
    const { dead, longElsewhere } = names
    expect(err.sort()).toEqual(
      [
        `evenkeel: warning: removed ${dead}, which a run that was killed left (process ${ended})`,
        `evenkeel: warning: ${longElsewhere} was left by a run on another machine or in another container; delete it where that has ended`
      ].sort()
    )
    for (const [name, path] of Object.entries(names)) expect(existsSync(path), name).toBe(name !== 'dead')
    for (const path of Object.values(names)) rmSync(path, { force: true })
  })
})

describe('behaviour: help', () => {
  it('the help of an op has its options and no others, each with a default or that it is needed', () => {
    const help = apply.helpFor?.(['rms-norm', '--help']) ?? ''
    expect(help).toMatch(/^Usage: evenkeel apply rms-norm /)
    const options = [...help.matchAll(/^ {6}--([\w-]+)/gm)].map(match => match[1])
    expect(options.sort()).toEqual(
      [
        ...['axis', 'eps', 'force', 'json', 'lengths', 'mask', 'normalized-shape', 'partial', 'quiet', 'residual'],
        ...['residual-scale', 'rows', 'weight', 'weight-offset', 'dtype', 'out-dtype']
      ].sort()
    )
    expect(help).toContain("added to the mean of squares, in x's unit squared; default 1e-6")
    for (const op of [
      'layer-norm',
      'rms-norm',
      'normalize',
      'batch-norm',
      'group-norm',
      'instance-norm',
      'local-response-norm'
    ]) {
      const text = apply.helpFor?.([op]) ?? ''
      const own = text.slice(text.indexOf(`Options of ${op}:`), text.indexOf('Options of every op:'))
      for (const entry of own.split(/^ {6}(?=--)/m).slice(1)) expect(entry, op).toMatch(/default|needed|in their place/)
      for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(130)
    }
    expect(apply.helpFor?.(['soft-max'])).toBeUndefined()
    expect(apply.helpFor?.(['--help'])).toBeUndefined()
  })

  it('the help of embed says of each option what it is without it', () => {
    for (const entry of embed.help.split(/^ {6}(?=--)/m).slice(1)) {
      if (!/^--(quiet|json)/.test(entry)) expect(entry).toMatch(/default|need/)
    }
    for (const line of embed.help.split('\n')) expect(line.length, line).toBeLessThanOrEqual(130)
  })
})
