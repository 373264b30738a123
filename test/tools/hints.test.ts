// What the command line says of a mistake: near words, the help that belongs to it, files that cannot be read.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fill, normal } from '../../dist/esm/cases/data.js'
import { apply } from '../../dist/esm/cli/apply.js'
import { calibrate } from '../../dist/esm/cli/calibrate.js'
import { corpus } from '../../dist/esm/cli/corpus.js'
import { embed } from '../../dist/esm/cli/embed.js'
import { info } from '../../dist/esm/cli/info.js'
import type { Command } from '../../dist/esm/cli/usage.js'
import { verify } from '../../dist/esm/cli/verify.js'
import { failureIn } from '../support/command.ts'
import { npyFolder } from '../support/npy_folder.ts'
import { evenkeel, shell } from '../support/process.ts'

const { at, save } = npyFolder()
const x = fill(normal, 6 * 3 * 4, 1)
const dims = [6, 3, 4]

beforeEach(() => {
  save('x.npy', x, dims)
  vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterEach(() => vi.restoreAllMocks())

const failure = failureIn(at(''))

describe('behaviour: words that are not known', () => {
  it('unknown options are told in our words, with one that is near', async () => {
    const args = ['layer-norm', at('x.npy'), '-o', at('y3.npy')]
    expect(await failure(apply, [...args, '--forse'], true)).toBe('there is no option --forse (nearest: --force)')
    const called = (option: string, ours: string) => `there is no option ${option}; here it is called ${ours}`
    for (const [option, ours] of [
      ['--gamma', '--weight'],
      ['--beta2', undefined],
      ['--epsilon', '--eps'],
      ['--attention-mask', '--mask'],
      ['--num-groups', '--groups'],
      ['--out-dir', '--output']
    ] as const) {
      const said = ours === undefined ? 'there is no option --beta2 (nearest: --beta)' : called(option, ours)
      expect(await failure(apply, [...args, option, '1'], true)).toBe(said)
    }
    expect(await failure(embed, [at('x.npy'), '-o', at('y3.npy'), '--pool', 'cls'], true)).toBe(
      'there is no option --pool (nearest: --pooling)'
    )
    expect(await failure(apply, ['layer-norm', '--in', at('x.npy')], true)).toBe(
      'there is no option --in; inputs stand without one'
    )
    expect(await failure(verify, ['--in', at('x.npy')], true)).toBe('there is no option --in')
    expect(await failure(apply, [...args, '--beta', '1'], true)).toBe(
      'layer-norm has no --beta; here it is called --bias'
    )
    expect(await failure(apply, [...args, '--dim', '1'], true)).toBe(
      'there is no option --dim; here it is called --axis'
    )
    expect(await failure(apply, [...args, '-x'], true)).toBe('there is no option -x')
    expect(await failure(apply, [...args, '--groups', '1'], true)).toBe('layer-norm has no --groups')
    expect(await failure(apply, [...args, '--eps'], true)).toBe('--eps expected a value, got nothing')
    expect(await failure(apply, [...args, '--force=1'], true)).toBe('--force expected no value, got one')
    expect(await failure(apply, ['layer-norm', '-o'], true)).toBe('--output expected a value, got nothing')
    expect(await failure(verify, ['--expct', 'js'], true)).toBe('there is no option --expct (nearest: --expect)')
    expect(await failure(info, ['please'], true)).toBe('arguments expected options alone, got "please"')
  })

  it('unknown words are told with one that is near', async () => {
    const to = ['-o', at('y3.npy')]
    const ops = 'layer-norm, rms-norm, normalize, batch-norm, group-norm, instance-norm, local-response-norm'
    expect(await failure(apply, ['LayerNorm', at('x.npy'), ...to], true)).toBe(
      `op expected ${ops} (nearest: layer-norm), got "LayerNorm"`
    )
    expect(
      await failure(apply, ['group-norm', at('x.npy'), ...to, '--groups', '2', '--layout', 'channel-last'], true)
    ).toBe('--layout expected channels-first, channels-last (nearest: channels-last), got "channel-last"')
    expect(await failure(corpus, ['stat'], true)).toBe(
      'corpus expected run, work, status (nearest: status), got "stat"'
    )
    expect(await failure(corpus, ['run', 'layernorm'], true)).toBe(
      `op expected ${ops}, embed, calibrate (nearest: layer-norm), got "layernorm"`
    )
    expect(await failure(corpus, ['run', 'embed', '--beta', '1'], true)).toBe(
      'embed has no --beta; here it is called --bias'
    )
  })

  it('a queue without an address names the variable of the environment', async () => {
    vi.stubEnv('REDIS_URL', undefined)
    expect(await failure(corpus, ['status'], true)).toBe(
      '--redis, or REDIS_URL in the environment, expected redis://host:port, got nothing'
    )
    vi.unstubAllEnvs()
  })

  it('wrong usage names the help of its op', () => {
    const { stderr } = evenkeel(['apply', '--weight', 'w.npy', 'layer-norm'])
    expect(stderr).toMatch(/\nevenkeel apply layer-norm --help tells how it is used\n$/)
    expect(apply.topicOf?.(['layernorm', 'in.npy'])).toBeUndefined()
    expect(apply.helpFor?.(['--weight', 'w.npy', 'layer-norm', '--help'])).toMatch(/^Usage: evenkeel apply layer-norm /)
  })

  it('shows a pipe, which works', async () => {
    const shown = /In a pipe: (.*)\n/.exec(apply.helpFor?.(['layer-norm']) ?? '')?.[1] ?? ''
    expect(apply.help).toContain(shown)
    const command = shown.replace('in.npy', at('x.npy')).replace('out.npy.gz', at('out.npy.gz'))
    expect(shell(command)).toMatchObject({ code: 0 })
    writeFileSync(at('piped.npy'), gunzipSync(readFileSync(at('out.npy.gz'))))
    await apply.run(['layer-norm', at('x.npy'), '-o', at('direct.npy')])
    expect(readFileSync(at('piped.npy'))).toEqual(readFileSync(at('direct.npy')))
    expect(embed.help).toContain('In a pipe: cat hidden.npy | evenkeel embed - -o - ')
  })
})

describe('behaviour: files that cannot be read', () => {
  const to = ['-o', at('y3.npy')]
  const absent = at('absent.npy')

  it.each<[string, Command, string[]]>([
    ['an input of apply', apply, ['layer-norm', absent, ...to]],
    ['a weight', apply, ['layer-norm', at('x.npy'), ...to, '--weight', absent]],
    ['a residual', apply, ['layer-norm', at('x.npy'), ...to, '--residual', absent]],
    ['an input of embed', embed, [absent, ...to]],
    ['ranges', embed, [at('x.npy'), ...to, '--precision', 'int8', '--scale', absent]],
    ['an input of calibrate', calibrate, [absent, '-o', at('s3.json')]]
  ])('%s that is not there is named', async (_, command, args) => {
    expect(await failure(command, args, false)).toBe(`${absent} is not there`)
  })

  it('a folder, or a file in the place of one, is told', async () => {
    expect(await failure(apply, ['layer-norm', at(''), ...to], false)).toBe(`${at('')} is a folder, no file`)
    const inFile = join(at('x.npy'), 'in.npy')
    expect(await failure(apply, ['layer-norm', inFile, ...to], false)).toBe(`${inFile} is not there`)
  })

  it.skipIf(process.getuid?.() === 0)('one of another user is told', async () => {
    const path = save('secret.npy', x, dims)
    chmodSync(path, 0)
    expect(await failure(apply, ['layer-norm', path, ...to], false)).toBe(`${path} may not be read by this user`)
  })
})
