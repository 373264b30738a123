import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BACKEND_NAMES, tables } from '../dist/esm/backend.js'
import { cases } from '../dist/esm/cases/index.js'
import * as evenkeel from '../dist/esm/index.js'
import golden from './golden.json' with { type: 'json' }
import { root } from './support/process.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const stems = (folder: string, ending: string) =>
  readdirSync(join(root, folder))
    .filter(name => name.endsWith(ending))
    .map(name => name.slice(0, -ending.length))
    .sort()

/** layer_norm -> layerNorm */
const camelCase = (stem: string) => stem.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())

describe('behaviour: nothing is forgotten', () => {
  const ops = stems('native/ops', '.h')

  it('every op has its files on both sides, its cases and its tests', () => {
    expect(ops.length).toBeGreaterThan(0)
    // instanceNorm has no kernel of its own: it is groupNorm's with each channel a group.
    expect(stems('src/ops', '.ts')).toEqual([...ops, 'instance_norm'].sort())
    expect(existsSync(join(root, 'test/instance_norm.test.ts'))).toBe(true)
    for (const op of ops) {
      expect(existsSync(join(root, 'src/cases', `${op}.ts`)), `src/cases/${op}.ts`).toBe(true)
      expect(existsSync(join(root, 'test', `${op}.test.ts`)), `test/${op}.test.ts`).toBe(true)
    }
  })

  it('every op is in the registry, in kernels.h, among the cases, the goldens and the exports', () => {
    const registry = [...read('native/ops.h').matchAll(/OP\((\w+), \(/g)].map(match => match[1]).sort()
    const included = [...read('native/kernels.h').matchAll(/#include "ops\/(\w+)\.h"/g)].map(match => match[1]).sort()
    expect(registry).toEqual(ops)
    expect(included).toEqual(ops)
    expect(Object.keys(cases).sort()).toEqual(ops)
    expect(Object.keys(golden).sort()).toEqual(ops)
    for (const op of ops) expect(evenkeel).toHaveProperty(camelCase(op))
  })

  it('every backend of this machine has every kernel', () => {
    for (const { name, float32 } of tables) expect(Object.keys(float32).sort(), name).toEqual(ops)
  })

  it('every ISA is in the dispatcher, in both builds and among the names', () => {
    const isas = stems('native/isa', '.cpp')
    const dispatched = [...read('native/dispatch.cpp').matchAll(/\{"(\w+)", /g)].map(match => match[1]).sort()
    expect(dispatched).toEqual(isas)
    expect([...BACKEND_NAMES].filter(name => name !== 'js').sort()).toEqual(isas)
    const gyp = JSON.parse(read('native/binding.gyp')) as { targets: { sources: string[] }[] }
    for (const isa of isas) expect(gyp.targets[0].sources).toContain(`isa/${isa}.cpp`)
    // native/CMakeLists.txt reads that list.
    expect(read('native/CMakeLists.txt')).toContain('binding.gyp')
  })

  it('intrinsics stand nowhere but in native/isa', () => {
    for (const name of readdirSync(join(root, 'native'), { recursive: true }) as string[]) {
      if (!/\.(h|cpp)$/.test(name) || name.startsWith('isa')) continue
      expect(read(join('native', name)), name).not.toMatch(/\b_mm\d*_|\bv[a-z]+q?_[fsu]\d+\b|immintrin|arm_neon/)
    }
  })
})
