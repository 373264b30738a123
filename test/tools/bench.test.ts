import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { charts, readmePart, report, withPart } from '../../bench/report.ts'
import { backends } from '../../dist/esm/index.js'
import { evenkeel, long, node, root } from '../support/process.ts'

interface Comparison {
  op: string
  dims: number[]
  numbers: string
  results: { name: string; ulp: number | null; nanosecondsPerRow?: number }[]
}

const cli = join(root, 'dist/esm/cli/index.js')

/** A folder of a user who has a package of this name, whose module is `code`. */
function projectWith(name: string, code: string): string {
  const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
  const path = join(folder, 'node_modules', name)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name, main: 'index.js' }))
  writeFileSync(join(path, 'index.js'), code)
  return folder
}

describe('behaviour: evenkeel bench', () => {
  it('gives times and errors of every backend, the plain loop and the copy, on each shape', () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    try {
      const { stdout, stderr, code } = node(
        [cli, 'bench', '--only', 'rms-norm', '--seconds', '0.2', '--json'],
        {},
        folder
      )
      expect(stderr).toBe('')
      expect(code).toBe(0)
      const { comparisons, accuracy, absent, ...about } = JSON.parse(stdout)
      expect(about.backends).toEqual(backends)
      const why = 'not installed here'
      expect(absent).toEqual([
        { name: 'onnxruntime-node', why },
        { name: '@huggingface/transformers', why }
      ])
      expect(comparisons.map(({ dims }: Comparison) => dims[0])).toEqual([1, 256, 8192])
      expect(accuracy.map(({ numbers }: Comparison) => numbers)).toEqual(['N(0,1)', 'N(1e4,1)', 'N(0,1e20)'])
      for (const { op, results } of comparisons as Comparison[]) {
        expect(op).toBe('rmsNorm')
        const names = results.map(({ name }) => name)
        const ours = backends.flatMap(name => [`prepared layer (${name})`, `function (${name})`])
        const of16 = ['float16', 'bfloat16'].map(type => `prepared layer, ${type} (${backends[0]})`)
        expect(names).toEqual(expect.arrayContaining([...ours, ...of16, 'plain loop', 'copy (memcpy)']))
        expect(new Set(names).size).toBe(names.length)
        for (const { name, ulp, nanosecondsPerRow } of results) {
          expect(nanosecondsPerRow, name).toBeGreaterThan(0)
          if (!name.startsWith('copy')) expect(ulp, name).toBeLessThan(/float16/.test(name) ? 0.51 : 1.55)
        }
      }
      // Of 16 bits every backend is checked, where the numbers fit.
      for (const { numbers, results } of accuracy as Comparison[]) {
        for (const type of ['float16', 'bfloat16']) {
          const fits = type === 'bfloat16' || numbers !== 'N(0,1e20)'
          const found = results.filter(({ name }) => name.includes(`, ${type} `))
          expect(
            found.map(({ ulp }) => (ulp as number) < 0.51),
            `${type} ${numbers}`
          ).toEqual(fits ? backends.map(() => true) : [])
        }
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it.runIf(long)('tells by how much a peer is wrong, and goes on', () => {
    const folder = projectWith(
      '@huggingface/transformers',
      `exports.env = { version: '0.0.1' }
      exports.Tensor = class { constructor(type, data) { this.data = data } }
      exports.layer_norm = ({ data }) => ({ data: data.map(value => (value > 1e19 ? NaN : value)) })`
    )
    try {
      const { stdout, code } = node([cli, 'bench', '--only', 'layer-norm', '--seconds', '0.5'], {}, folder)
      expect(code).toBe(0)
      expect(stdout).toContain('@huggingface/transformers 0.0.1\n')
      // It does not normalize at all.
      expect(stdout).toMatch(/^transformers\.js \(no affine\) +\d.* +\d\.\de\+10 +NaN or Inf$/m)
      expect(stdout).toMatch(/^layerNorm 8192 x 768 /m)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('refuses what it does not know', () => {
    const expectRefusal = (args: string[], message: string) =>
      expect(evenkeel(['bench', ...args])).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
    expectRefusal(['--only', 'batch-norm'], '--only expected layer-norm or rms-norm, got "batch-norm"')
    expectRefusal(['--only', 'toString'], '--only expected layer-norm or rms-norm, got "toString"')
    expectRefusal(['--seconds', '0'], '--seconds expected a number above 0, 3600 at most, got "0"')
    expectRefusal(['--seconds', 'two'], '--seconds expected a number above 0, 3600 at most, got "two"')
    expectRefusal(['--rows', '1'], 'there is no option --rows')
  })
})

describe('behaviour: the results of npm run bench', () => {
  const folder = join(root, 'bench/results')
  const machines = readdirSync(folder).filter(name => existsSync(join(folder, name, 'results.json')))
  const resultsOf = (name: string) => JSON.parse(readFileSync(join(folder, name, 'results.json'), 'utf8'))

  it('say in Markdown what they say as data, with their charts beside them', () => {
    expect(machines.length).toBeGreaterThan(0)
    for (const name of machines) {
      expect(readFileSync(join(folder, name, 'README.md'), 'utf8')).toBe(report(resultsOf(name)))
      for (const chart of Object.keys(charts)) {
        expect(readFileSync(join(folder, name, `${chart}.svg`), 'utf8'), chart).toMatch(/^<svg .*<\/svg>\n$/s)
      }
    }
  })

  it('are what the README says', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const name = /\(bench\/results\/([\w-]+)\/README\.md\)/.exec(readme)?.[1] ?? ''
    expect(machines).toContain(name)
    expect(withPart(readme, readmePart(resultsOf(name), name))).toBe(readme)
  })
})
