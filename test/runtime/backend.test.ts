import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tables } from '../../dist/esm/backend/choice.js'
import { backend, backendInfo, backends } from '../../dist/esm/index.js'
import { node, root, run } from '../support/process.ts'

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
        import { tables } from ${JSON.stringify(new URL('../../dist/esm/backend/choice.js', import.meta.url).href)}
        const x = Float32Array.from({ length: 40 }, (_, i) => (i % 7 - 3) * 1e-42)
        ${prepare}
        console.log(Math.fround(1e-40) === 0, backendInfo().flushesToZero)
        for (const { name, float32 } of tables) {
          const y = new Float32Array(40)
          const shape = { outer: 1, size: 40, inner: 1 }
          float32.rms_norm({ y, x, weight: x, shape, counted: 40, residualScale: 1, eps: 0, weightOffset: 0 })
          console.log(name, String(new Uint32Array(y.buffer)))
          float32.layer_norm({ y, x, weight: x, bias: x, shape, residualScale: 1, eps: 0 })
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
