import { spawn, spawnSync } from 'node:child_process'
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { fill, normal, ordinaryWeights } from '../../dist/esm/cases/data.js'
import { npyHeader } from '../../dist/esm/cli/npy.js'
import {
  backends,
  batchNorm,
  groupNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  normalize,
  rmsNorm
} from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'
import { npyFolder } from '../support/npy_folder.ts'
import { evenkeel, evenkeelEach, long, node, root, shell } from '../support/process.ts'

const { at, save, saveTyped, saveAs, load } = npyFolder()
let folder = ''
beforeAll(() => {
  folder = at('')
})
const bytesOf = (data: Float32Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

function expectFailure(args: string[], code: number, message: string) {
  const outcome = evenkeel(args)
  expect(outcome.stderr).toContain(`evenkeel: ${message}`)
  expect(outcome.code).toBe(code)
}

const refused: { args: string[]; code: number; message: string }[] = []

/** To be refused with this message; `expectRefused` looks at all that are. */
const wrongUsage = (args: string[], message: string) => void refused.push({ args, code: 2, message })

function expectRefused() {
  const all = refused.splice(0)
  expect(all.length).toBeGreaterThan(0)
  for (const [i, { code, stderr }] of evenkeelEach(all.map(({ args }) => args)).entries()) {
    expect(stderr).toContain(`evenkeel: ${all[i].message}`)
    expect(code, stderr).toBe(all[i].code)
  }
}

const operations = 'layer-norm, rms-norm, normalize, batch-norm, group-norm, instance-norm, local-response-norm'

describe('behaviour: the command line', () => {
  it('tells how it is used, as a whole and for each command', () => {
    const lines = [
      ['--help'],
      ['-h'],
      ['info', '--help'],
      ['verify', '-h'],
      ['apply', '--help'],
      ['embed', '--help'],
      ['calibrate', '-h'],
      ['build', '-h'],
      ['bench', '--help']
    ]
    for (const { code, stdout } of evenkeelEach(lines)) {
      expect(stdout).toMatch(/^Usage: evenkeel/)
      expect(code).toBe(0)
    }
    expect(evenkeel(['--version']).stdout).toBe(
      `${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}\n`
    )
  })

  it('ends with 2 for wrong usage', () => {
    const alone = evenkeel([])
    expect(alone).toMatchObject({ code: 2, stdout: '', stderr: evenkeel(['--help']).stdout })
    wrongUsage(
      ['aply'],
      'command expected info, verify, apply, embed, calibrate, corpus, build, bench (nearest: apply), got "aply"'
    )
    wrongUsage(
      ['toString'],
      'command expected info, verify, apply, embed, calibrate, corpus, build, bench, got "toString"'
    )
    wrongUsage(['info', '--fast'], 'there is no option --fast')
    wrongUsage(['verify', 'this'], 'arguments expected options alone, got "this"')
    wrongUsage(['apply', 'soft-max', 'a', '-o', 'b'], `op expected ${operations}, got "soft-max"`)
    wrongUsage(['apply', 'toString', 'a', '-o', 'b'], `op expected ${operations}, got "toString"`)
    wrongUsage(['apply'], `op expected ${operations}, got nothing`)
    wrongUsage(['apply', 'layer-norm', '-o', 'b'], 'input expected at least one file, got 0')
    wrongUsage(
      ['apply', 'layer-norm', 'a'],
      'output expected a file (-o out.npy, or -o - for standard output), got nothing'
    )
    wrongUsage(['apply', 'rms-norm', 'a', '-o', 'b', '--bias', 'c'], 'rms-norm has no --bias')
    wrongUsage(['apply', 'layer-norm', 'a', '-o', 'b', '--eps', 'small'], '--eps expected a number, got "small"')
    expectRefused()
  })

  it('ends with 2 for numbers that no operation takes', () => {
    const rms = ['apply', 'rms-norm', 'a', '-o', 'b']
    wrongUsage([...rms, '--eps', '-1'], '--eps expected a number >= 0, got -1')
    wrongUsage([...rms, '--weight-offset=1'], '--weight-offset needs --weight')
    wrongUsage([...rms, '--normalized-shape', '3,0'], '--normalized-shape expected integers >= 1, got 3,0')
    wrongUsage(['apply', 'rms-norm', 'a', '-o', ''], 'output expected a file')
    wrongUsage([...rms, '--partial', '1.5'], '--partial expected a number > 0 and <= 1, got 1.5')
    wrongUsage([...rms, '--residual-scale=2'], '--residual-scale needs --residual')
    wrongUsage([...rms, '--eps', '--axis'], '--eps expected a value, got an option; --eps=VALUE takes any')
    wrongUsage([...rms, '--axis', '1.5'], '--axis expected integers, got 1.5')
    wrongUsage([...rms, '--axis', '1', '--normalized-shape', '3'], '--normalized-shape and --axis exclude')
    wrongUsage([...rms, '--lengths', '1', '--mask', 'c'], '--lengths and --mask exclude each other')
    const normalize = ['apply', 'normalize', 'a', '-o', 'b']
    wrongUsage([...normalize, '--p', '0'], '--p expected a number > 0 or inf, got 0')
    wrongUsage([...normalize, '--rule', 'max'], '--rule expected clamp, clamp-square, add-square, mean-square, z')
    wrongUsage([...normalize, '--weight', 'w'], 'normalize has no --weight')
    const group = ['apply', 'group-norm', 'a', '-o', 'b']
    wrongUsage(group, 'group-norm needs --groups')
    wrongUsage([...group, '--groups', '0'], '--groups expected an integer >= 1, got 0')
    wrongUsage([...group, '--groups', '2', '--axis', '3'], 'group-norm has no --axis')
    wrongUsage([...group, '--groups', '2', '--layout', 'NHWC'], '--layout expected channels-first, channels-last')
    wrongUsage(['apply', 'local-response-norm', 'a', '-o', 'b'], 'local-response-norm needs --size')
    const batch = ['apply', 'batch-norm', 'a', '-o', 'b']
    wrongUsage(batch, 'batch-norm needs --running-mean, or --training')
    wrongUsage([...batch, '--running-mean', 'm'], 'batch-norm needs --running-var, or --training')
    wrongUsage([...batch, '--training', '--running-var', 'v'], '--training and --running-var exclude each other')
    expectRefused()
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

  it.runIf(long)('verify agrees on every backend, and tells how many it compared', () => {
    const { stdout, code } = evenkeel(['verify'])
    expect(stdout).not.toContain('DIFFER')
    expect(stdout).toContain(`compared ${backends.length - 1} native`)
    expect(code).toBe(backends.length > 1 ? 0 : 1)
  })

  it.runIf(long)(
    'verify without a native binary ends with 1, unless that is expected; and where a golden hash differs',
    () => {
      const copy = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
      const verify = (...args: string[]) =>
        spawnSync(process.execPath, [join(copy, 'dist/esm/cli/index.js'), 'verify', ...args], {
          encoding: 'utf8',
          env: { ...process.env, EVENKEEL_BACKEND: '' }
        })
      try {
        for (const name of ['dist', 'package.json']) spawnSync('cp', ['-r', join(root, name), copy])
        spawnSync('mkdir', [join(copy, 'test')])
        const golden = readFileSync(join(root, 'test/golden.json'), 'utf8')
        writeFileSync(join(copy, 'test/golden.json'), golden)
        const agreeing = verify('--expect', 'js')
        expect(agreeing.stdout).not.toContain('DIFFER')
        expect(agreeing.status).toBe(0)
        const spoilt = golden.replace(/("layer_norm": .*"statistics":")./, '$1x')
        writeFileSync(join(copy, 'test/golden.json'), spoilt)
        const { stdout, status } = verify()
        expect(stdout).toMatch(/layer_norm +js +GOLDEN HASHES DIFFER/)
        expect(stdout).toMatch(/rms_norm +js +golden hashes agree/)
        expect(stdout).toContain('portable is MISSING: ')
        expect(status).toBe(1)
      } finally {
        rmSync(copy, { recursive: true })
      }
      expectFailure(
        ['verify', '--expect', 'sse9'],
        2,
        '--expect expected names of avx512, avx2, neon, portable, js, got "sse9"'
      )
    }
  )
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

  it('gives the bits of the functions for every operation and option, each on the next backend', () => {
    const volume = fill(normal, 3 * 8 * 5, 11)
    const channels = (seed: number, n = 8) => fill(ordinaryWeights, n, seed)
    const [first, last] = [
      { data: volume, dims: [3, 8, 5] },
      { data: volume, dims: [3, 5, 8] }
    ]
    const [f, l] = [save('first.npy', volume, first.dims), save('last.npy', volume, last.dims)]
    const matrix = { data: volume, dims: [15, 8] }
    const m = save('m.npy', volume, matrix.dims)
    const [weight, bias, mean, variance] = [1, 2, 3, 4].map(seed => channels(seed))
    const [w, b, rm, rv] = [weight, bias, mean, variance].map((data, i) => save(`v${i}.npy`, data, [8]))
    const [weight5, residual] = [channels(5, 5), fill(normal, volume.length, 12)]
    const [w5, r] = [save('w5.npy', weight5, [5]), save('r.npy', residual, last.dims)]
    const double = Float64Array.from(variance, value => value / 3)
    const rv8 = saveTyped('rv8.npy', '<f8', double, [8])
    const lengths = [4, 0, 5]
    const lengthFile = saveTyped('lengths.npy', '<i8', BigInt64Array.from([4n, 0n, 5n]), [3])
    const flags = Uint8Array.of(1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1)
    const mask = Array.from(flags)
    const maskFiles = [
      saveTyped('mask1.npy', '|b1', flags, [3, 5]),
      saveTyped('mask4.npy', '<i4', Int32Array.from(flags), [3, 5]),
      save('maskf.npy', Float32Array.from(flags), [3, 5])
    ]
    const running = ['--running-mean', rm, '--running-var', rv]
    const given = { runningMean: mean, runningVar: variance }
    const channelsLast = ['--layout', 'channels-last']
    const affine = ['--weight', w, '--bias', b]
    const cases: [string[], { data: unknown }][] = [
      [['layer-norm', f, '--axis', '1', ...affine], layerNorm(first, { axis: 1 }, { weight, bias })],
      [['layer-norm', f, '--axis', '0', '--eps', '0.1'], layerNorm(first, { axis: 0 }, { eps: 0.1 })],
      [['layer-norm', f, '--axis', '-1,-3'], layerNorm(first, { axis: [0, 2] })],
      [['layer-norm', l, '--lengths', '4,0,5', ...affine], layerNorm(last, 8, { weight, bias, lengths })],
      [['layer-norm', l, '--lengths', lengthFile], layerNorm(last, 8, { lengths })],
      [['layer-norm', f, '--axis', '1', '--mask', maskFiles[0]], layerNorm(first, { axis: 1 }, { mask })],
      [
        ['layer-norm', l, '--residual', r, '--residual-scale', '0.5'],
        layerNorm(last, 8, { residual, residualScale: 0.5 })
      ],
      [['rms-norm', f, '--axis', '2', '--weight', w5], rmsNorm(first, { axis: 2 }, { weight: weight5 })],
      [['rms-norm', l, '--residual', r, '--mask', maskFiles[1]], rmsNorm(last, 8, { residual, mask })],
      [['rms-norm', l, '--partial', '0.5'], rmsNorm(last, 8, { partial: 0.5 })],
      [['normalize', l], normalize(last, 8)],
      [['normalize', l, '--p', '1', '--scale', '3'], normalize(last, 8, { p: 1, scale: 3 })],
      [['normalize', l, '--p', 'inf', '--axis', '0'], normalize(last, { axis: 0 }, { p: Number.POSITIVE_INFINITY })],
      [
        ['normalize', l, '--rule', 'mean-square', '--eps', '0.01', '--normalized-shape', '5,8'],
        normalize(last, [5, 8], { rule: 'mean-square', eps: 0.01 })
      ],
      [['normalize', l, '--lengths', lengthFile], normalize(last, 8, { lengths })],
      [
        ['normalize', f, '--axis', '1', '--p', '3', '--mask', maskFiles[0]],
        normalize(first, { axis: 1 }, { p: 3, mask })
      ],
      [['batch-norm', m, ...running, ...affine], batchNorm(matrix, { ...given, weight, bias })],
      [['batch-norm', f, ...running], batchNorm(first, given)],
      [
        ['batch-norm', f, '--running-mean', rm, '--running-var', rv8],
        batchNorm(first, { ...given, runningVar: double })
      ],
      [
        ['batch-norm', l, ...running, ...channelsLast, '--lengths', lengthFile, '--eps', '1e-3'],
        batchNorm(last, { ...given, layout: 'channels-last', lengths, eps: 1e-3 })
      ],
      [['batch-norm', m, '--training', ...affine], batchNorm(matrix, { training: true, weight, bias })],
      [['batch-norm', f, '--training', '--mask', maskFiles[2]], batchNorm(first, { training: true, mask })],
      [['group-norm', f, '--groups', '4', ...affine], groupNorm(first, 4, { weight, bias })],
      [['group-norm', m, '--groups', '2'], groupNorm(matrix, 2)],
      [['group-norm', l, '--groups', '2', ...channelsLast], groupNorm(last, 2, { layout: 'channels-last' })],
      [
        ['group-norm', f, '--groups', '4', ...affine, '--lengths', '4,0,5'],
        groupNorm(first, 4, { weight, bias, lengths })
      ],
      [
        ['group-norm', l, '--groups', '2', ...channelsLast, '--mask', maskFiles[1]],
        groupNorm(last, 2, { layout: 'channels-last', mask })
      ],
      [['instance-norm', f, ...affine, '--eps', '0'], instanceNorm(first, { weight, bias, eps: 0 })],
      [['instance-norm', f, '--lengths', '4,0,5'], instanceNorm(first, { lengths })],
      [['local-response-norm', f, '--size', '3'], localResponseNorm(first, 3)],
      [
        ['local-response-norm', l, '--size=4', '--alpha=2', '--beta=0.3', '--k=2', '--window=onnx', ...channelsLast],
        localResponseNorm(last, 4, { alpha: 2, beta: 0.3, k: 2, window: 'onnx', layout: 'channels-last' })
      ]
    ]
    const lines = cases.map(([[op, input, ...options]], i) => ['apply', op, input, '-o', at(`y${i}.npy`), ...options])
    for (const [first, name] of backends.entries()) {
      const own = lines.filter((_, i) => i % backends.length === first)
      for (const { stderr } of evenkeelEach(own, { EVENKEEL_BACKEND: name })) expect(stderr).toBe('')
    }
    for (const [i, [[op, input, ...options], expected]] of cases.entries()) {
      const name = backends[i % backends.length]
      expectSameBits(load(`y${i}.npy`), expected.data as Float32Array, `${name}: ${op} ${options.join(' ')}`)
      expect(readFileSync(at(`y${i}.npy`)).subarray(0, 128)).toEqual(readFileSync(input).subarray(0, 128))
    }
  })

  it('gives the bits of the functions where a file takes several blocks', () => {
    const dims = [24, 1000, 96] // blocks of 2^20 elements: 10 samples, or 10922 rows
    const x = { data: fill(next => 2 * next() - 1, 24 * 1000 * 96, 21), dims }
    const input = save('blocks.npy', x.data, dims)
    const residual = x.data.map(value => 1 - value)
    const r = save('residual.npy', residual, dims)
    const lengths = Array.from({ length: 24 }, (_, i) => (i * 41) % 1001)
    const mask = Array.from({ length: 24_000 }, (_, i) => (i * 7) % 5 > 0)
    const m = saveTyped('mask.npy', '|b1', Uint8Array.from(mask, Number), [24, 1000])
    const cases: [string[], { data: unknown }][] = [
      [['rms-norm', '--lengths', lengths.join(), '--residual', r], rmsNorm(x, 96, { lengths, residual })],
      [['layer-norm', '--axis', '1'], layerNorm(x, { axis: 1 })],
      [['normalize', '--mask', m], normalize(x, 96, { mask })],
      [['instance-norm', '--layout', 'channels-last', '--mask', m], instanceNorm(x, { layout: 'channels-last', mask })],
      [
        ['batch-norm', '--training', '--lengths', lengths.map(n => n % 97).join()],
        batchNorm(x, { training: true, lengths: lengths.map(n => n % 97) })
      ]
    ]
    for (const [[op, ...options], expected] of cases) {
      expect(evenkeel(['apply', op, input, '-o', at('y.npy'), '--force', ...options]).stderr).toBe('')
      expectSameBits(load('y.npy'), expected.data as Float32Array, op)
    }
    for (const name of ['blocks.npy', 'residual.npy']) rmSync(at(name))
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
    const files: string[] = []
    const check = (text: string, message: string, version = 1) => {
      const file = saveAs(`wrong${files.length}.npy`, version, text)
      files.push(file)
      refused.push({ args: apply(file), code: 1, message: `${file}: ${message}` })
    }
    check(
      dictionary("'>f4'"),
      "dtype expected little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2'), got '>f4' (float32, big-endian); save a.astype('<f4')"
    )
    check(
      dictionary("'<f8'"),
      "dtype expected little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2'), got '<f8' (float64); save a.astype('<f4')"
    )
    check(
      dictionary("[('a', '<f4')]"),
      "dtype expected little-endian float32, float16 or bfloat16 ('<f4', '<f2', '<V2'), got [('a', '<f4')] (structured); save one field"
    )
    check(dictionary("'<f4'", 'False', '(-1, 4)'), 'shape expected integers >= 0, got (-1, 4)')
    check(dictionary("'<f4'", 'False', '(2, 4)'), 'data expected 32 bytes, got 16')
    check(dictionary("'<f4'", 'False', '(2, 0)'), 'shape expected a last dimension >= 1, got (2, 0)')
    check(dictionary("'<f4'", 'False', '()'), 'shape expected a last dimension >= 1, got ()')
    check(dictionary("'<f4'", 'False', '(4)'), 'shape expected a tuple, got (4)')
    check(dictionary("'<f4'", 'False', '(,)'), 'shape expected integers >= 0, got (,)')
    check(dictionary("'<f4'", 'False', '(1,,4)'), 'shape expected integers >= 0, got (1,,4)')
    check(dictionary("'<f4'", 'False', '(1, 04)'), 'shape expected integers >= 0, got (1, 04)')
    check(dictionary("'<f4'", '0'), 'fortran_order expected True or False, got 0')
    check('nonsense', 'header expected a dictionary, got "nonsense"')
    check(`x ${dictionary("'<f4'")}`, 'header expected a dictionary')
    check(`${dictionary("'<f4'")} x`, 'header expected a dictionary')
    check(dictionary("'<f4'").replace("'shape': ", "'shape' "), 'header expected a dictionary')
    check('{}', 'header expected the keys descr, fortran_order, shape, got none')
    check(dictionary("'<f4'").replace('{', "{'x': 1, "), 'header expected the keys descr, fortran_order, shape, got')
    check(dictionary("'<f4'"), '.npy version expected 1 to 3, got 4', 4)
    expectRefused()
    expect(readdirSync(folder).length).toBe(before + files.length)
    for (const file of files) rmSync(file)
    writeFileSync(at('f.npy'), 'PK')
    expectFailure(apply(at('f.npy')), 1, `${at('f.npy')}: format expected .npy`)
    expectFailure(apply(at('absent.npy')), 1, `${at('absent.npy')} is not there`)
    expect(readdirSync(folder).length).toBe(before + 1)
  })

  it('says what does not fit the file, with code 1, and writes nothing', () => {
    const [x, five] = [save('x.npy', new Float32Array(24), [2, 3, 4]), save('five.npy', new Float32Array(5), [5])]
    const fail = (args: string[], message: string) => {
      refused.push({ args: ['apply', ...args, '-o', at('unwritten.npy')], code: 1, message })
    }
    const square = save('square.npy', new Float32Array(4), [2, 2])
    const three = save('three.npy', new Float32Array(3), [3])
    const before = readdirSync(folder).length
    fail(['layer-norm', x, '--weight', five], '--weight: shape expected (4,), got (5,)')
    fail(['layer-norm', x, '--weight', square], '--weight: shape expected (4,), got (2, 2)')
    fail(['layer-norm', x, '--normalized-shape', '3'], `${x}: last dims expected 3, got shape (2, 3, 4)`)
    fail(
      ['layer-norm', x, '--axis', '3'],
      `${x}: --axis expected integers from -3 to 2, each once, got 3 for shape (2,`
    )
    fail(['layer-norm', x, '--axis=1,-2'], `${x}: --axis expected integers from -3 to 2, each once, got 1, -2`)
    fail(['layer-norm', x, '--residual', square], '--residual: shape expected (2, 3, 4), got (2, 2)')
    fail(['layer-norm', x, '--lengths', '3'], '--lengths: shape expected (2,), got (1,)')
    fail(['layer-norm', x, '--lengths', '3,4'], '--lengths expected integers from 0 to 3, got 4')
    fail(['normalize', x, '--lengths', '3,4'], '--lengths expected integers from 0 to 3, got 4')
    fail(['group-norm', x, '--groups', '1', '--lengths', '3'], '--lengths: shape expected (2,), got (1,)')
    const odd = save('odd.npy', Float32Array.of(0, 1, 0.5, 1, 0, 0), [2, 3])
    fail(['layer-norm', x, '--mask', odd], '--mask expected 0 and 1, got 0.5')
    fail(
      ['layer-norm', x, '--lengths', five],
      `${five}: dtype expected integers, got '<f4' (float32); save a.astype('<i8')`
    )
    fail(['layer-norm', x, '--mask', square], '--mask: shape expected (2, 3), got (2, 2)')
    fail(['layer-norm', square, '--lengths', '1,1'], `${square}: shape expected 3 dimensions (--lengths), got (2, 2)`)
    fail(['layer-norm', x, '--axis', '0', '--lengths', '1,1'], `${x}: axis expected 1 or 2 with padding, got 0`)
    fail(['normalize', x, '--p', '1', '--rule', 'add-square'], 'normalize: p expected 2 (rule add-square), got 1')
    fail(['group-norm', x, '--groups', '2'], 'groupNorm: numGroups expected a divisor of 3 (channels), got 2')
    fail(['instance-norm', five], `${five}: shape expected at least 2 dimensions, got (5,)`)
    const running = ['--running-mean', three, '--running-var']
    fail(['batch-norm', x, ...running, five], '--running-var: shape expected (3,), got (5,)')
    fail(['batch-norm', x, '--training', '--lengths', '1,0'], 'batchNorm: x expected more than one value per channel')
    expectRefused()
    rmSync(odd)
    expect(readdirSync(folder).length).toBe(before)
  })

  it('writes beside other runs: of two at once one wins, with --force both end well, and no other file is left', async () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    try {
      const input = save('twice.npy', fill(normal, 4000 * 768, 5), [4000, 768])
      const output = join(folder, 'out.npy')
      const once = (options: string[]) =>
        new Promise<number | null>(resolve => {
          const args = ['dist/esm/cli/index.js', 'apply', 'layer-norm', input, '-o', output, ...options]
          spawn(process.execPath, args, { cwd: root, stdio: 'ignore' }).on('exit', resolve)
        })
      const both = async (...options: string[]) => (await Promise.all([once(options), once(options)])).sort()
      expect(await both()).toEqual([0, 1])
      expect(await both('--force')).toEqual([0, 0])
      expect(readdirSync(folder)).toEqual(['out.npy'])
      expect(statSync(output).size).toBe(statSync(input).size)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('overwrites nothing that appeared while it worked, unless forced, and keeps the mode of what it replaces', async () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    try {
      const output = join(folder, 'late.npy')
      // A pipe: that of `spawn` is a socket, which cannot be opened by its name.
      const command = ['dist/esm/cli/index.js', 'apply', 'layer-norm', '/dev/stdin', '-o', output]
      const run = spawn('sh', ['-c', 'cat | "$0" "$@"', process.execPath, ...command], { cwd: root })
      let stderr = ''
      run.stderr.on('data', data => {
        stderr += data
      })
      const input = readFileSync(save('small.npy', fill(normal, 12, 5), [3, 4]))
      run.stdin.write(input.subarray(0, input.length - 4))
      // It has seen that nothing is there.
      while (!readdirSync(folder).some(name => name.endsWith('.tmp'))) await new Promise(done => setTimeout(done, 10))
      writeFileSync(output, 'somebody else', { mode: 0o600 })
      run.stdin.end(input.subarray(input.length - 4))
      expect(await new Promise(resolve => run.on('exit', resolve))).toBe(1)
      expect(stderr).toContain('late.npy exists; --force overwrites it')
      expect(readFileSync(output, 'utf8')).toBe('somebody else')
      expect(readdirSync(folder).sort()).toEqual(['late.npy'])
      const small = save('small.npy', fill(normal, 12, 5), [3, 4])
      expect(evenkeel(['apply', 'layer-norm', small, '-o', output, '--force']).code).toBe(0)
      expect(statSync(output).mode & 0o777).toBe(0o600)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('writes a whole file, and over nothing, where the file system has no links', () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    const without = `
      import files from 'node:fs/promises'
      import { syncBuiltinESMExports } from 'node:module'
      files.link = async () => { throw Object.assign(new Error('no links'), { code: 'EPERM' }) }
      syncBuiltinESMExports()`
    const x = fill(normal, 120, 1)
    const input = save('unlinked.npy', x, [6, 20])
    const output = join(folder, 'out.npy')
    const apply = () => {
      const preload = ['--import', `data:text/javascript,${encodeURIComponent(without)}`]
      return node([...preload, 'dist/esm/cli/index.js', 'apply', 'rms-norm', input, '-o', output])
    }
    try {
      expect(apply()).toMatchObject({ code: 0, stderr: '' })
      const { buffer } = Uint8Array.from(readFileSync(output).subarray(128))
      expectSameBits(new Float32Array(buffer), rmsNorm(x, 20), 'without links')
      expect(readdirSync(folder)).toEqual(['out.npy'])
      expect(apply()).toMatchObject({ code: 1 })
      expect(readdirSync(folder)).toEqual(['out.npy'])
    } finally {
      rmSync(folder, { recursive: true })
      rmSync(input)
    }
  })

  it('takes a name as long as the file system does, and no folder', () => {
    const input = save('named.npy', new Float32Array(4), [1, 4])
    for (let length = 255; ; length--) {
      const output = at('n'.repeat(length))
      try {
        writeFileSync(output, '')
      } catch {
        continue
      }
      rmSync(output)
      expect(evenkeel(['apply', 'rms-norm', input, '-o', output]).stderr, `${length} characters`).toBe('')
      rmSync(output)
      break
    }
    expectFailure(apply(input, `${at('new')}/`), 1, `the output folder ${at('new')} is not there; make it first`)
    rmSync(input)
  })

  it('escapes what files and arguments would do to a terminal', () => {
    const odd = '\u001b[2J\nevenkeel: all is well'
    const files = [
      saveAs('odd.npy', 3, dictionary(`'<f4${odd}'`)),
      saveAs('odd2.npy', 1, dictionary("'<f4'", 'False', `(${odd},)`)),
      saveAs('odd3.npy', 1, `${odd}${'x'.repeat(60_000)}`),
      saveAs('odd4.npy', 1, dictionary(`'<f4${'x'.repeat(60_000)}'`)),
      at('name\u001b]0;x\u0007\u009b1m\u202e\n.npy')
    ]
    for (const path of files) {
      const { stderr, code } = evenkeel(apply(path))
      expect(code).toBe(1)
      // One line, of a length that can be read.
      expect(stderr).toMatch(/^evenkeel: [^\p{Cc}\u202e]{20,500}\n$/u)
    }
    for (const path of files.slice(0, 4)) rmSync(path)
    const { stdout } = evenkeel(['info'], { EVENKEEL_NATIVE_PATH: `/${odd}` })
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|^evenkeel: all/mu)
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
