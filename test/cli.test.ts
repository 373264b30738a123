import { spawn, spawnSync } from 'node:child_process'
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fill, normal, ordinaryWeights } from '../dist/esm/cases/data.js'
import { npyHeader } from '../dist/esm/cli/npy.js'
import { backends, layerNorm, rmsNorm } from '../dist/esm/index.js'
import { evenkeel, root, shell } from './support/process.ts'
import { expectSameBits } from './support/suites.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const at = (name: string) => join(folder, name)
const bytesOf = (data: Float32Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

function save(name: string, data: Float32Array, dims: number[]): string {
  writeFileSync(at(name), Buffer.concat([npyHeader(dims), bytesOf(data)]))
  return at(name)
}

/** A file of these bytes after a header of this text and version. */
function saveAs(name: string, version: number, text: string, data: Uint8Array = new Uint8Array(16)): string {
  const length = Buffer.alloc(version === 1 ? 2 : 4)
  if (version === 1) length.writeUInt16LE(text.length)
  else length.writeUInt32LE(text.length)
  writeFileSync(
    at(name),
    Buffer.concat([Buffer.from('\x93NUMPY', 'latin1'), Buffer.from([version, 0]), length, Buffer.from(text), data])
  )
  return at(name)
}

function load(name: string): Float32Array {
  const bytes = readFileSync(at(name))
  const start = 10 + bytes.readUInt16LE(8)
  return new Float32Array(Uint8Array.from(bytes.subarray(start)).buffer)
}

function expectFailure(args: string[], code: number, message: string) {
  const outcome = evenkeel(args)
  expect(outcome.stderr).toContain(`evenkeel: ${message}`)
  expect(outcome.code).toBe(code)
}

describe('behaviour: the command line', () => {
  it('tells how it is used, as a whole and for each command', () => {
    for (const args of [
      ['--help'],
      ['-h'],
      ['info', '--help'],
      ['verify', '-h'],
      ['apply', '--help'],
      ['build', '-h']
    ]) {
      const { code, stdout } = evenkeel(args)
      expect(stdout).toMatch(/^Usage: evenkeel/)
      expect(code).toBe(0)
    }
    expect(evenkeel(['--version']).stdout).toBe(
      `${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}\n`
    )
  })

  it('ends with 2 for wrong usage', () => {
    expectFailure([], 2, 'command expected info, verify, apply, build, got nothing')
    expectFailure(['aply'], 2, 'command expected info, verify, apply, build, got "aply"')
    expectFailure(['toString'], 2, 'command expected info, verify, apply, build, got "toString"')
    expectFailure(['info', '--fast'], 2, "Unknown option '--fast'")
    expectFailure(['verify', 'this'], 2, 'Unexpected argument')
    expectFailure(['apply', 'soft-max', 'a', '-o', 'b'], 2, 'op expected layer-norm or rms-norm, got "soft-max"')
    expectFailure(['apply', 'layer-norm', '-o', 'b'], 2, 'input expected one file, got 0')
    expectFailure(['apply', 'layer-norm', 'a'], 2, 'output expected a file (-o out.npy), got nothing')
    expectFailure(['apply', 'rms-norm', 'a', '-o', 'b', '--bias', 'c'], 2, 'rms-norm has no --bias')
    expectFailure(['apply', 'layer-norm', 'a', '-o', 'b', '--eps', 'small'], 2, '--eps expected a number, got "small"')
  })

  it('ends with 2 for numbers that no operation takes', () => {
    const rms = ['apply', 'rms-norm', 'a', '-o', 'b']
    expectFailure([...rms, '--eps=-1'], 2, '--eps expected a number >= 0, got -1')
    expectFailure([...rms, '--weight-offset=1'], 2, '--weight-offset needs --weight')
    expectFailure([...rms, '--normalized-shape', '3,0'], 2, '--normalized-shape expected integers >= 1, got 3,0')
    expectFailure(['apply', 'rms-norm', 'a', '-o', ''], 2, 'output expected a file')
  })

  it('info names the backend, where it comes from and what is missing', () => {
    const { stdout, code } = evenkeel(['info'])
    expect(code).toBe(0)
    expect(stdout).toContain(`backends:      ${backends.join(', ')}`)
    expect(stdout).toMatch(/^no .*(neon|avx2).*: ./m)
  })

  it('ends with 1 for a backend that cannot run here', () => {
    const { stderr, code } = evenkeel(['info'], { EVENKEEL_BACKEND: 'sse9' })
    expect(stderr).toMatch(new RegExp(`^evenkeel: EVENKEEL_BACKEND expected one of ${backends.join(', ')}, got "sse9"`))
    expect(code).toBe(1)
  })

  it('verify agrees on every backend, and tells how many it compared', () => {
    const { stdout, code } = evenkeel(['verify'])
    expect(stdout).not.toContain('DIFFER')
    expect(stdout).toContain(`compared ${backends.length - 1} native`)
    expect(code).toBe(backends.length > 1 ? 0 : 1)
  })

  it('verify ends with 1 when a backend that is expected is missing', () => {
    const absent = ['avx512', 'avx2', 'neon', 'portable'].find(
      name => !backends.includes(name as (typeof backends)[number])
    )
    const { stdout, code } = evenkeel(['verify', '--expect', `${absent}`])
    expect(stdout).toContain(`${absent} is MISSING: `)
    expect(code).toBe(1)
    expect(evenkeel(['verify', '--expect', 'js']).code).toBe(0)
    expectFailure(
      ['verify', '--expect', 'sse9'],
      2,
      '--expect expected names of avx512, avx2, neon, portable, js, got "sse9"'
    )
  })

  it('verify ends with 1 when a golden hash differs', () => {
    const copy = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    try {
      for (const name of ['dist', 'package.json']) spawnSync('cp', ['-r', join(root, name), copy])
      spawnSync('mkdir', [join(copy, 'test')])
      const golden = readFileSync(join(root, 'test/golden.json'), 'utf8').replace(/"statistics":"./, '"statistics":"x')
      writeFileSync(join(copy, 'test/golden.json'), golden)
      const { stdout, status } = spawnSync(process.execPath, [join(copy, 'dist/esm/cli/index.js'), 'verify'], {
        encoding: 'utf8'
      })
      expect(stdout).toMatch(/layer_norm +js +GOLDEN HASHES DIFFER/)
      expect(stdout).toMatch(/rms_norm +js +golden hashes agree/)
      expect(status).toBe(1)
    } finally {
      rmSync(copy, { recursive: true })
    }
  })
})

describe('equality: evenkeel apply', () => {
  const x = fill(normal, 6 * 20, 1)
  const weight = fill(ordinaryWeights, 20, 2)
  const bias = fill(normal, 20, 3)

  it('gives the bits of the functions', () => {
    const [input, w, b] = [save('x.npy', x, [2, 3, 20]), save('w.npy', weight, [20]), save('b.npy', bias, [20])]
    expect(
      evenkeel(['apply', 'layer-norm', input, '-o', at('ln.npy'), '--weight', w, '--bias', b, '--eps', '1e-3']).code
    ).toBe(0)
    expectSameBits(load('ln.npy'), layerNorm(x, 20, { weight, bias, eps: 1e-3 }), 'layer-norm')
    expect(
      evenkeel(['apply', 'rms-norm', input, '-o', at('rms.npy'), '--weight', w, '--weight-offset', '1']).code
    ).toBe(0)
    expectSameBits(load('rms.npy'), rmsNorm(x, 20, { weight, weightOffset: 1 }), 'rms-norm')
    expect(evenkeel(['apply', 'layer-norm', input, '-o', at('two.npy'), '--normalized-shape', '3,20']).code).toBe(0)
    expectSameBits(load('two.npy'), layerNorm(x, 60), 'normalized-shape')
    expect(readFileSync(at('ln.npy')).subarray(0, 128)).toEqual(readFileSync(input).subarray(0, 128))
  })

  it('writes the same file on every backend, in blocks', () => {
    const large = save('large.npy', fill(normal, 3000 * 768, 5), [3000, 768])
    const files = backends.map(name => {
      expect(evenkeel(['apply', 'layer-norm', large, '-o', at(`${name}.npy`)], { EVENKEEL_BACKEND: name }).code).toBe(0)
      return readFileSync(at(`${name}.npy`))
    })
    for (const file of files) expect(file.equals(files[0])).toBe(true)
  })

  it('overwrites its own input with --force, and reads from a pipe', () => {
    const both = save('both.npy', x, [6, 20])
    expect(evenkeel(['apply', 'rms-norm', both, '-o', both, '--force']).code).toBe(0)
    expectSameBits(load('both.npy'), rmsNorm(x, 20), 'in place')
    save('both.npy', x, [6, 20])
    expect(shell(`cat ${both} | evenkeel apply rms-norm /dev/stdin -o ${at('pipe.npy')}`).stderr).toBe('')
    expectSameBits(load('pipe.npy'), rmsNorm(x, 20), 'pipe')
  })
})

describe('behaviour: .npy files', () => {
  const dictionary = (descr: string, order = 'False', shape = '(1, 4)') =>
    `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`
  const apply = (input: string, output = at(`${Math.random()}.npy`)) => ['apply', 'layer-norm', input, '-o', output]

  it('reads versions 1 to 3, whatever the order and the quotes of the header', () => {
    const data = bytesOf(Float32Array.of(1, 2, 3, 4))
    const expected = layerNorm(Float32Array.of(1, 2, 3, 4), 4)
    const texts = [dictionary("'<f4'"), `{"shape": (1L, 4L), "fortran_order": False, "descr": "<f4"}   \n`]
    for (const version of [1, 2, 3]) {
      for (const text of texts) {
        expect(
          evenkeel(apply(saveAs('v.npy', version, text, data), at(`v${version}.npy`)).concat('--force')).code
        ).toBe(0)
        expectSameBits(load(`v${version}.npy`), expected, `version ${version}`)
      }
    }
  })

  it('writes the header that numpy writes', () => {
    // numpy 2: np.save of zeros((8, 64, 256), 'f4'), zeros(5, 'f4') and zeros((0, 3), 'f4')
    const header = (shape: string) =>
      `\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`
    for (const [dims, shape] of [
      [[8, 64, 256], '(8, 64, 256)'],
      [[5], '(5,)'],
      [[0, 3], '(0, 3)']
    ] as const) {
      const written = npyHeader([...dims]).toString('latin1')
      expect(written).toBe(`${header(shape).padEnd(127)}\n`)
    }
  })

  it('says what is wrong with a file, with code 1, and writes nothing', () => {
    const before = readdirSync(folder).length
    const check = (text: string, message: string, version = 1) =>
      expectFailure(apply(saveAs('f.npy', version, text)), 1, `${at('f.npy')}: ${message}`)
    check(dictionary("'<f4'", 'True'), 'order expected C (row-major), got Fortran')
    check(dictionary("'>f4'"), "dtype expected little-endian float32 ('<f4'), got '>f4' (big-endian)")
    check(dictionary("'<f8'"), "dtype expected little-endian float32 ('<f4'), got '<f8'; save a.astype('float32')")
    check(dictionary("[('a', '<f4')]"), "dtype expected little-endian float32 ('<f4'), got [('a', '<f4')]")
    check(dictionary("'<f4'", 'False', '(-1, 4)'), 'shape expected integers >= 0, got (-1, 4)')
    check(dictionary("'<f4'", 'False', '(2, 4)'), 'data expected 32 bytes, got 16')
    check(dictionary("'<f4'", 'False', '(2, 0)'), 'shape expected a last dimension >= 1, got (2, 0)')
    check(dictionary("'<f4'", 'False', '()'), 'shape expected a last dimension >= 1, got ()')
    check('nonsense', "header expected 'descr'")
    check(dictionary("'<f4'"), '.npy version expected 1 to 3, got 4', 4)
    writeFileSync(at('f.npy'), 'PK')
    expectFailure(apply(at('f.npy')), 1, `${at('f.npy')}: format expected .npy`)
    expectFailure(apply(at('absent.npy')), 1, 'ENOENT')
    expect(readdirSync(folder).length).toBe(before + 1)
  })

  it('does not overwrite without --force', () => {
    const input = save('keep.npy', new Float32Array(4), [1, 4])
    writeFileSync(at('kept.npy'), 'mine')
    expectFailure(apply(input, at('kept.npy')), 1, `${at('kept.npy')} exists; --force overwrites it`)
    expect(readFileSync(at('kept.npy'), 'utf8')).toBe('mine')
  })

  it('with --force follows links, keeps the mode, and overwrites nothing but regular files', () => {
    const input = save('force.npy', new Float32Array(4), [1, 4])
    writeFileSync(at('target.npy'), 'old', { mode: 0o600 })
    symlinkSync(at('target.npy'), at('link.npy'))
    expect(evenkeel([...apply(input, at('link.npy')), '--force']).code).toBe(0)
    expect(lstatSync(at('link.npy')).isSymbolicLink()).toBe(true)
    expect(lstatSync(at('target.npy')).mode & 0o777).toBe(0o600)
    expect(load('target.npy').length).toBe(4)
    symlinkSync(at('nowhere.npy'), at('dangling.npy'))
    expectFailure(apply(input, at('dangling.npy')), 1, `${at('dangling.npy')} exists; --force overwrites it`)
    expectFailure([...apply(input, '/dev/null'), '--force'], 1, '/dev/null: output expected a regular file')
    for (const name of ['force.npy', 'target.npy', 'link.npy', 'dangling.npy']) rmSync(at(name))
  })

  it('leaves no file behind when it is interrupted or its input ends too soon', async () => {
    const names = () => readdirSync(folder).sort().join()
    // A file of 12 GB that takes no room on the disk: there is time to interrupt.
    const input = save('endless.npy', new Float32Array(0), [4_000_000, 768])
    truncateSync(input, 128 + 4_000_000 * 768 * 4)
    const before = names()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const child = spawn(process.execPath, ['dist/esm/cli/index.js', ...apply(input, at('half.npy'))], { cwd: root })
      const ended = new Promise(resolve => child.on('exit', (_, by) => resolve(by)))
      while (!names().includes('half.npy')) await new Promise(resolve => setTimeout(resolve, 10))
      child.kill(signal)
      expect(await ended).toBe(signal)
      expect(names()).toBe(before)
    }
    rmSync(input)
    const whole = readFileSync(save('cut.npy', new Float32Array(4096), [4, 1024]))
    writeFileSync(at('cut.npy'), whole.subarray(0, 1000))
    const cut = shell(`cat ${at('cut.npy')} | evenkeel apply layer-norm /dev/stdin -o ${at('cut-out.npy')}`)
    expect(cut.stderr).toContain('/dev/stdin: data expected 15512 bytes more, got the end of the file')
    expect(cut.code).toBe(1)
    expect(names()).toBe(before.replace('endless.npy', 'cut.npy').split(',').sort().join())
  })
})
