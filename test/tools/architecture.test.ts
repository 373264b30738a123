import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tables } from '../../dist/esm/backend/choice.js'
import { MOST_ARRAYS } from '../../dist/esm/backend/flatten.js'
import { native } from '../../dist/esm/backend/native.js'
import { BACKEND_NAMES } from '../../dist/esm/backend/types.js'
import { cases, lines } from '../../dist/esm/cases/index.js'
import * as evenkeel from '../../dist/esm/index.js'
import { elements } from '../../dist/esm/kernels/elements.js'
import { ops as listed, signatures } from '../../dist/esm/kernels/index.js'
import { type Kind, kinds } from '../../dist/esm/kernels/operands.js'
import golden from '../golden.json' with { type: 'json' }
import { root } from '../support/process.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const below = (folder: string, pattern: RegExp) =>
  (readdirSync(join(root, folder), { recursive: true }) as string[])
    .map(name => join(folder, name).replaceAll('\\', '/'))
    .filter(name => pattern.test(name) && !name.startsWith('native/build/'))
const stems = (folder: string, ending: string) =>
  readdirSync(join(root, folder))
    .filter(name => name.endsWith(ending))
    .map(name => name.slice(0, -ending.length))
    .sort()

/** layer_norm -> layerNorm */
const camelCase = (stem: string) => stem.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
/** residualScale -> residual_scale */
const snakeCase = (name: string) => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)

const ops: readonly string[] = [...listed].sort()
const sources = below('src', /\.c?ts$/)
const code = [...sources, ...below('native', /\.(h|cpp)$/)]

/** Operations whose kernels are another's, and kernels that have no operation of their own. */
const withoutKernel = ['instance_norm', 'instance_norm_backward']
const withoutOperation = ['permute', 'residual_sum']
/** A backward kernel stands under its forward, in the same file. */
const stemOf = (op: string) => op.replace(/_backward$/, '')

describe('behaviour: nothing is forgotten', () => {
  it('every op has its files on both sides, its cases, its golden hashes and its tests', () => {
    expect(ops.length).toBeGreaterThan(0)
    for (const op of ops) {
      for (const file of [`native/kernels/${stemOf(op)}.h`, `src/kernels/${stemOf(op)}.ts`, `test/ops/${op}.test.ts`]) {
        expect(existsSync(join(root, file)), file).toBe(true)
      }
      if (withoutOperation.includes(op)) continue
      expect(existsSync(join(root, `src/ops/${op}.ts`)), `src/ops/${op}.ts`).toBe(true)
      expect(evenkeel).toHaveProperty(camelCase(op))
    }
    for (const op of withoutKernel) expect(existsSync(join(root, `test/ops/${op}.test.ts`))).toBe(true)
    expect(stems('src/ops', '.ts').filter(name => !/_(call|options)$/.test(name))).toEqual(
      [...ops.filter(op => !withoutOperation.includes(op)), ...withoutKernel].sort()
    )
    expect(Object.keys(cases).sort()).toEqual(ops)
    expect(Object.keys(golden).sort()).toEqual(lines.map(({ name }) => name).sort())
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
    // native/CMakeLists.txt reads that list, and the root's binding.gyp depends on it.
    expect(read('native/CMakeLists.txt')).toContain('binding.gyp')
    expect(read('binding.gyp')).toContain('native/binding.gyp:evenkeel')
  })
})

/** The operands of native/ops.h: `Tensor<T> y, ...`, without line breaks. */
const nativeSignatures = Object.fromEntries(
  [...read('native/ops.h').matchAll(/OP\((\w+), \(([^;]*?)\)\)/g)].map(([, op, operands]) => [
    op,
    operands.replace(/\s*\\\n\s*/g, ' ').trim()
  ])
)

const asNative = (signature: { readonly [operand: string]: Kind }) =>
  Object.entries(signature)
    .map(([name, kind]) => `${kinds[kind].native} ${snakeCase(name)}`)
    .join(', ')

describe('behaviour: one list of operands', () => {
  it('has the same operands by the same names in the same order on both sides', () => {
    expect(Object.keys(nativeSignatures).sort()).toEqual(ops)
    for (const op of listed) expect(asNative(signatures[op]), op).toBe(nativeSignatures[op])
  })

  it('has the same types of elements on both sides, and tables of each in the binary', () => {
    const rows = [...read('native/elements.h').matchAll(/ELEMENT\((\w+), \w+, (\w+)\)/g)]
    expect(Object.fromEntries(rows.map(([, name, array]) => [name, array]))).toEqual(elements)
    for (const backend of native.addon?.backends ?? []) {
      expect(Object.keys(backend).sort()).toEqual([...Object.keys(elements), 'name'].sort())
    }
  })

  it.skipIf(!native.addon)('is what the native binary was built from', () => {
    for (const op of listed) expect(native.addon?.signatures[op], op).toBe(`(${nativeSignatures[op]})`)
  })

  it('has no more arrays in any op than a call passes', () => {
    for (const op of listed) {
      const arrays = Object.values(signatures[op] as { [name: string]: Kind }).filter(
        kind => kinds[kind].role !== 'number'
      )
      expect(arrays.length, op).toBeLessThanOrEqual(MOST_ARRAYS)
    }
  })
})

/** What a source of src imports, types included. */
const importsOf = (path: string) =>
  [...read(path).matchAll(/(?:from|import|require\()\s*['"](\.[^'"]+)['"]/g)]
    .map(match =>
      join(dirname(path), match[1])
        .replaceAll('\\', '/')
        .replace(/\.(c?)js$/, '.$1ts')
    )
    .filter(target => sources.includes(target))

describe('behaviour: the rooms', () => {
  it('src has index.ts and version.ts at its root, everything else in rooms', () => {
    expect(sources.filter(path => path.split('/').length === 2).sort()).toEqual(['src/index.ts', 'src/version.ts'])
  })

  it('no source imports itself through others', () => {
    const done = new Set<string>()
    const visit = (path: string, through: readonly string[]) => {
      expect(through, `${through.join(' -> ')} -> ${path}`).not.toContain(path)
      if (done.has(path)) return
      for (const target of importsOf(path)) visit(target, [...through, path])
      done.add(path)
    }
    for (const path of sources) visit(path, [])
  })

  it('src/kernels imports nothing outside itself', () => {
    for (const path of sources.filter(path => path.startsWith('src/kernels/'))) {
      expect(read(path), path).not.toMatch(/from '(?!\.\/)/)
    }
  })

  it('no file has more than 400 lines', () => {
    for (const path of code) expect(read(path).split('\n').length, path).toBeLessThanOrEqual(400)
  })

  it('Node-API stands nowhere but in native/node', () => {
    for (const path of code.filter(path => path.startsWith('native/') && !path.startsWith('native/node/'))) {
      expect(read(path), path).not.toMatch(/\bnapi_|\bNapi::|napi\.h|node_api/)
    }
  })

  it('intrinsics stand nowhere but in native/isa', () => {
    for (const path of code.filter(path => path.startsWith('native/') && !path.startsWith('native/isa/'))) {
      expect(read(path), path).not.toMatch(/\b_mm\d*_(?!pause|getcsr|setcsr)|\bv[a-z]+q?_[fsu]\d+\b|immintrin|arm_neon/)
    }
  })

  it('the twins have the same names on both sides', () => {
    // What only one side needs: how vectors go through a row, and the operands by name.
    const nativeAlone = ['all', 'cursors', 'row_stream', 'rows', 'sections']
    const typescriptAlone = ['arrays', 'elements', 'index', 'operands', 'padding', 'signatures', 'stage']
    const both = (names: string[], alone: string[]) => names.filter(name => !alone.includes(name))
    expect(both(stems('src/kernels', '.ts'), typescriptAlone)).toEqual(both(stems('native/kernels', '.h'), nativeAlone))
  })
})
