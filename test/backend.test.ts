import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Kernels, tables } from '../dist/esm/backend.js'
import { backend, backendInfo, backends } from '../dist/esm/index.js'
import { node, root, run } from './support/process.ts'

const hasBinary = tables.length > 1

describe('behaviour: the choice of a backend', () => {
  it('lists what this machine can run, best first, and js last', () => {
    expect(backends).toEqual(tables.map(({ name }) => name))
    expect(backends.at(-1)).toBe('js')
    expect(backend).toBe(process.env.EVENKEEL_BACKEND || backends[0])
    const order = ['avx512', 'avx2', 'neon', 'portable', 'js']
    expect([...backends].sort((a, b) => order.indexOf(a) - order.indexOf(b))).toEqual(backends)
  })

  it('accounts for every backend: it is there, or it is said why not', () => {
    const { missing, loadedFrom } = backendInfo()
    expect([...backends, ...missing.map(({ name }) => name)].sort()).toEqual([
      'avx2',
      'avx512',
      'js',
      'neon',
      'portable'
    ])
    for (const { why } of missing) expect(why).not.toBe('')
    expect(loadedFrom !== undefined).toBe(hasBinary)
  })

  it('finds the backends that EVENKEEL_EXPECT names: CI says so, that none goes missing unseen', () => {
    const expected = (process.env.EVENKEEL_EXPECT ?? 'js').split(',')
    expect(backends).toEqual(expect.arrayContaining(expected))
  })

  it.each(backends)('runs %s where EVENKEEL_BACKEND names it', name => {
    const { stdout } = run(`import { backend } from 'evenkeel'; console.log(backend)`, { EVENKEEL_BACKEND: name })
    expect(stdout).toBe(`${name}\n`)
  })

  it('throws at import for a backend that cannot run here, with those that can', () => {
    const impossible = process.arch === 'arm64' ? 'avx2' : 'neon'
    for (const name of [impossible, 'sse9']) {
      const { code, stderr } = run(`import 'evenkeel'`, { EVENKEEL_BACKEND: name })
      expect(code).not.toBe(0)
      expect(stderr).toContain(`evenkeel: EVENKEEL_BACKEND expected one of ${backends.join(', ')}, got "${name}"`)
    }
  })

  it('gives the same bits through import and require, which share one choice', () => {
    const { stdout, stderr } = run(`
      import { createRequire } from 'node:module'
      import * as esm from 'evenkeel'
      process.env.EVENKEEL_BACKEND = 'nonsense' // too late: the choice is made
      const cjs = createRequire(import.meta.url)('evenkeel')
      const x = Float32Array.of(1, 2, 3, 4.5)
      console.log(esm.backend === cjs.backend, esm.layerNorm !== cjs.layerNorm)
      console.log(String(esm.layerNorm(x, 4)) === String(cjs.layerNorm(x, 4)))
      console.log(Object.keys(esm).sort().join() === Object.keys(cjs).sort().join())
    `)
    expect(stderr).toBe('')
    expect(stdout).toBe('true true\ntrue\ntrue\n')
  })

  it('says once, and only then, that there is no native binary', () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    try {
      const copy = spawnSync('cp', ['-r', join(root, 'dist'), join(root, 'package.json'), folder])
      expect(copy.status).toBe(0)
      const program = `
        import { createRequire } from 'node:module'
        import { backend } from 'evenkeel'
        createRequire(import.meta.url)('evenkeel')
        console.log(backend)`
      const { stdout, stderr } = node(
        ['--input-type=module', '-e', program],
        { NODE_NO_WARNINGS: '', EVENKEEL_NATIVE_PATH: '' },
        folder
      )
      expect(stdout).toBe('js\n')
      expect(stderr.match(/running on the TypeScript backend/g)?.length).toBe(1)
      const quiet = node(
        ['--input-type=module', '-e', program],
        { EVENKEEL_BACKEND: 'js', NODE_NO_WARNINGS: '' },
        folder
      )
      expect(quiet).toEqual({ code: 0, stdout: 'js\n', stderr: '' })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('loads in several worker threads at once', () => {
    const { stdout, stderr } = run(`
      import { Worker } from 'node:worker_threads'
      const code = "import('evenkeel').then(e => require('worker_threads').parentPort.postMessage(" +
        "e.backend + e.layerNorm(Float32Array.of(1, 2, 3), 3)))"
      const results = await Promise.all(Array.from({ length: 8 }, () => new Promise((resolve, reject) => {
        new Worker(code, { eval: true, execArgv: [] }).on('message', resolve).on('error', reject)
      })))
      console.log(new Set(results).size, results[0].startsWith('${backend}'))
    `)
    expect(stderr).toBe('')
    expect(stdout).toBe('1 true\n')
  })

  it('loads no third-party module', () => {
    const { stdout } = run(`
      import { createRequire } from 'node:module'
      import 'evenkeel'
      const require = createRequire(import.meta.url)
      require('evenkeel')
      console.log(Object.keys(require.cache).filter(path => path.includes('node_modules')).length)
    `)
    expect(stdout).toBe('0\n')
  })
})

describe('equality: subnormal numbers where another library flushes them to zero', () => {
  const compiler = ['cc', 'gcc'].find(name => spawnSync(name, ['--version']).status === 0)

  it.skipIf(!hasBinary || !compiler || process.platform !== 'linux')(
    'native kernels keep them, and the flushing comes back',
    () => {
      const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
      try {
        // As objects made by GCC up to 12 with -ffast-math do when they are loaded, and as later ones do where asked to.
        const library = join(folder, 'fast.so')
        const source = join(folder, 'fast.c')
        const setFlush = `#if defined(__SSE__)
        #include <xmmintrin.h>
        __attribute__((constructor)) void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
        #elif defined(__aarch64__)
        __attribute__((constructor)) void flush(void) {
          unsigned long fpcr; __asm__("mrs %0, fpcr" : "=r"(fpcr)); fpcr |= 1ul << 24; __asm__("msr fpcr, %0" : : "r"(fpcr));
        }
        #endif`
        writeFileSync(source, setFlush)
        const built = spawnSync(compiler ?? '', ['-shared', '-fPIC', '-ffast-math', '-o', library, source], {
          encoding: 'utf8'
        })
        expect(built.stderr).toBe('')
        const program = (prepare: string) => `
        import { backendInfo } from 'evenkeel'
        import { tables } from ${JSON.stringify(new URL('../dist/esm/backend.js', import.meta.url).href)}
        const x = Float32Array.from({ length: 40 }, (_, i) => (i % 7 - 3) * 1e-42)
        ${prepare}
        console.log(Math.fround(1e-40) === 0, backendInfo().flushesToZero)
        for (const { name, float32 } of tables) {
          const y = new Float32Array(40)
          float32.rms_norm(y, 40, undefined, 40, undefined, x, 40, undefined, 40, x, 1, 40, 1, 40, 1, 0, 0)
          console.log(name, String(new Uint32Array(y.buffer)))
          float32.layer_norm(y, 40, undefined, 40, undefined, undefined, x, 40, undefined, 40, x, x, 1, 40, 1, 1, 0)
          console.log(name, String(new Uint32Array(y.buffer)))
        }
        console.log(Math.fround(1e-40) === 0)`
        const undisturbed = run(program(''))
        const disturbed = run(program(`try { process.dlopen({ exports: {} }, ${JSON.stringify(library)}) } catch {}`))
        expect(undisturbed.stderr + disturbed.stderr).toBe('')
        const native = (stdout: string) => stdout.split('\n').filter(line => /^(avx|neon|portable)/.test(line))
        const expected = native(undisturbed.stdout)
        expect(expected.length).toBe(2 * (tables.length - 1))
        for (const line of expected) expect(line).toMatch(/,[1-9]\d*,/)
        expect(native(disturbed.stdout)).toEqual(expected)
        expect(undisturbed.stdout).toMatch(/^false false\n[\s\S]*\nfalse\n$/)
        expect(disturbed.stdout).toMatch(/^true true\n[\s\S]*\ntrue\n$/)
      } finally {
        rmSync(folder, { recursive: true })
      }
    }
  )
})

describe('behaviour: the kernels of the native binary, called with anything', () => {
  const native = tables.slice(0, -1)
  const x = new Float32Array(12)
  const none = undefined
  // y, stride, sum, stride, mean, rstd, x, stride, residual, stride, weight, bias, outer, size, inner, residualScale, eps
  const good: unknown[] = [x, 4, none, 4, none, none, x, 4, none, 4, none, none, 3, 4, 1, 1, 1e-5]
  const bad: { [what: string]: unknown[] } = {
    'no arguments': [],
    'more arguments than it has': [...good, ...good, ...good],
    'an array too short for its rows': good.with(12, 4),
    'an array too short for its columns': good.with(13, 13),
    'a stride below the columns': good.with(1, 3),
    'a stride past the end': good.with(7, 5),
    'a stride whose product overflows': good.with(7, 2 ** 53 - 1).with(12, 2 ** 53 - 1),
    'a negative number of rows': good.with(12, -1),
    'a fraction of rows': good.with(12, 1.5),
    'NaN rows': good.with(12, Number.NaN),
    'no columns': good.with(13, 0),
    'rows as text': good.with(12, '3'),
    'no output': good.with(0, undefined),
    'no input': good.with(6, undefined),
    'an output of another type': good.with(0, new Float64Array(12)),
    'an input of another type': good.with(6, new Int32Array(12)),
    'a DataView': good.with(6, new DataView(new ArrayBuffer(48))),
    'a plain array': good.with(0, [1, 2, 3]),
    null: good.with(10, null),
    'a short weight': good.with(10, new Float32Array(3)),
    'a short residual': good.with(8, new Float32Array(11)),
    'a short sum': good.with(2, new Float32Array(11)),
    'a short mean': good.with(4, new Float64Array(2)),
    'statistics of another type': good.with(5, new Uint8Array(12)),
    'eps as text': good.with(16, 'small'),
    'a symbol': good.with(16, Symbol('eps'))
  }

  it.skipIf(native.length === 0).each(Object.keys(bad))('refuse %s and write nothing', what => {
    for (const { name, float32 } of native) {
      x.fill(3)
      const call = () => (float32.layer_norm as (...args: unknown[]) => void)(...bad[what])
      if (what === 'more arguments than it has') expect(call, name).not.toThrow()
      else {
        expect(call, name).toThrow(/^layer_norm: argument \d+ expected /)
        expect(x.every(value => value === 3)).toBe(true)
      }
    }
  })

  it.skipIf(native.length === 0)('name the argument that is wrong', () => {
    const call = (args: unknown[]) => () => (native[0].float32.layer_norm as (...args: unknown[]) => void)(...args)
    expect(call(good.with(0, 5))).toThrow('layer_norm: argument 1 expected a typed array or undefined, got')
    expect(call(good.with(10, new Float64Array(4)))).toThrow("argument 11 expected elements of this kernel's type, got")
    expect(call(good.with(12, -1))).toThrow('argument 13 expected an integer from 0 to 2^53 - 1, got')
  })

  it.skipIf(native.length === 0)('refuse detached memory', () => {
    const gone = new Float32Array(12)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    for (const { float32 } of native) {
      const call = () => (float32.layer_norm as (...args: unknown[]) => void)(...good.with(6, gone))
      expect(call).toThrow(/expected arrays that hold what the shape says/)
    }
  })
})

describe('behaviour: all kernels of the native binary, with each argument wrong in each way', () => {
  const native = tables.slice(0, -1)
  const f32 = (n = 24) => new Float32Array(n).fill(3)
  const f64 = (n: number) => new Float64Array(n).fill(3)
  const spans = Int32Array.of(0, 2, 1, 3)
  /** A good call of each, on 2 samples of 4 channels at 3 positions or as many rows. */
  const good: { [op in keyof Kernels]: () => unknown[] } = {
    // biome-ignore-start format: as the kernels' parameters stand
    batch_norm: () => [f32(), f32(), f64(4), f64(4), f32(4), f32(4), spans, 2, 4, 1, 3, true, 1e-5],
    batch_statistics: () => [f64(4), f64(4), f32(), spans, 2, 4, 1, 3, false],
    group_norm: () => [f32(), f64(8), f32(8), f32(), f32(4), f32(4), spans, 2, 4, 1, 3, true, 1e-5],
    layer_norm: () => [f32(), 12, f32(), 12, f64(6), f64(6), f32(), 12, f32(), 12, f32(4), f32(4), 2, 4, 3, 1, 1e-5],
    local_response_norm: () => [f32(), f32(), 2, 4, 1, 3, true, 1, 1, 1e-4, 0.75, 1],
    normalize: () => [f32(), 12, f64(6), f32(), 12, 2, 4, 3, 2, 0, 1e-5, 1],
    rms_norm: () => [f32(), 12, f32(), 12, f64(6), f32(), 12, f32(), 12, f32(4), 2, 4, 3, 2, 1, 1e-5, 0]
    // biome-ignore-end format: as the kernels' parameters stand
  }
  const ops = Object.keys(good) as (keyof Kernels)[]

  it('are all here', () => {
    expect(ops.sort()).toEqual(Object.keys(tables[tables.length - 1].float32).sort())
  })

  /** Wrong values in the place of one: some may be allowed there (undefined, another number), none may do harm. */
  function wrong(value: unknown): unknown[] {
    const other = [Symbol('no'), 'text', null, {}, [1, 2, 3], new DataView(new ArrayBuffer(64)), () => 1, 5n]
    if (typeof value === 'number') {
      return [
        ...other,
        f32(),
        undefined,
        -1,
        0.5,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        2 ** 31,
        2 ** 32,
        2 ** 53 - 1,
        2 ** 60,
        1e300
      ]
    }
    if (typeof value === 'boolean') return [...other, undefined, 0, 1]
    const gone = value instanceof Int32Array ? Int32Array.of(0, 1, 0, 1) : f32()
    structuredClone(gone.buffer, { transfer: [gone.buffer as ArrayBuffer] })
    const short = (value as Float32Array).slice(1)
    const spansWrong =
      value instanceof Int32Array
        ? [
            [0, 4, 0, 1],
            [-1, 2, 0, 1],
            [2, 1, 0, 1],
            [0, 2 ** 31 - 1, 0, 1],
            [-(2 ** 31), 0, 0, 1]
          ].map(all => Int32Array.from(all))
        : []
    return [...other, gone, short, new Uint8Array(400), new BigInt64Array(64), f32(0), 7, ...spansWrong]
  }

  it.skipIf(native.length === 0).each(ops)('%s throws or does its work, and never reads or writes elsewhere', op => {
    for (const { name, float32 } of native) {
      const call = (args: unknown[]) => (float32[op] as (...args: unknown[]) => void)(...args)
      expect(() => call(good[op]()), name).not.toThrow()
      let refused = 0
      for (const [place, value] of good[op]().entries()) {
        for (const bad of wrong(value)) {
          const args = good[op]().with(place, bad)
          const others = args.filter(one => one !== bad)
          const outputs = others.filter(one => one instanceof Float32Array || one instanceof Float64Array)
          try {
            call(args)
          } catch (error) {
            expect(String(error), `${name}, argument ${place + 1}`).toMatch(
              new RegExp(`^TypeError: ${op}: argument \\d+ `)
            )
            for (const array of outputs)
              expect(
                array.every(element => element === 3),
                `${name}, ${place + 1}`
              ).toBe(true)
            refused++
          }
        }
      }
      expect(refused).toBeGreaterThan(8 * good[op]().length)
      expect(() => call([])).toThrow(`${op}: argument`)
    }
  })

  it.skipIf(native.length === 0)('refuse arrays too short for their shape, and shapes whose products overflow', () => {
    const sizes = {
      batch_norm: [7, 8, 9, 10],
      batch_statistics: [4, 5, 6, 7],
      group_norm: [7, 8, 9, 10],
      local_response_norm: [2, 3, 4, 5]
    }
    for (const { float32 } of native) {
      for (const [op, places] of Object.entries(sizes) as [keyof typeof sizes, number[]][]) {
        const call = (args: unknown[]) => () => (float32[op] as (...args: unknown[]) => void)(...args)
        for (const place of places) {
          for (const size of [1000, 2 ** 30, 2 ** 31 - 1, 2 ** 53 - 1]) {
            expect(call(good[op]().with(place, size)), `${op} ${place}: ${size}`).toThrow(TypeError)
          }
        }
        const [samples, groups] = places
        expect(
          call(
            good[op]()
              .with(samples, 2 ** 32)
              .with(groups, 2 ** 32)
          ),
          op
        ).toThrow(TypeError)
        expect(
          call(
            good[op]()
              .with(samples, 2 ** 40)
              .with(groups, 2 ** 24)
          ),
          op
        ).toThrow(TypeError)
      }
    }
  })
})

describe('behaviour: the native binary', () => {
  const objects = join(root, 'native/build/Release/obj.target/evenkeel/isa')
  const hasNm = spawnSync('nm', ['--version']).status === 0

  it.skipIf(!existsSync(objects) || !hasNm).each(['avx512', 'avx2', 'neon', 'portable'])(
    'exports one symbol from isa/%s.cpp, its table of kernels, and no inline function that the linker could share',
    name => {
      const { stdout } = spawnSync('nm', ['--defined-only', '--extern-only', '-C', `${name}.o`], {
        cwd: objects,
        encoding: 'utf8'
      })
      const symbols = stdout.split('\n').filter(line => line !== '')
      const compiledHere = name === 'portable' || (name === 'neon') === (process.arch === 'arm64')
      expect(symbols.map(line => line.replace(/^\S+ \S /, ''))).toEqual(
        compiledHere ? [`evenkeel::${name}_kernels`] : []
      )
    }
  )
})
