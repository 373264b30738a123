// docs/api.md and README.md: the examples run and print what stands behind their console.log. That the page is what the
// docstrings say, the step `reference` of .ci/run checks.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as evenkeel from '../../dist/esm/index.js'
import { root, run } from '../support/process.ts'

interface Example {
  readonly code: string
  /** Where it stands. */
  readonly where: string
}

/** The blocks of a document that print something. */
function examplesOf(document: string): Example[] {
  const text = readFileSync(join(root, document), 'utf8')
  return Array.from(text.matchAll(/^```ts\n(.*?)^```$/gms), ({ 1: code, index }) => ({
    code,
    where: `${document}, line ${text.slice(0, index).split('\n').length}`
  })).filter(({ code }) => code.includes('console.log('))
}

const page = readFileSync(join(root, 'docs/api.md'), 'utf8')
const examples = examplesOf('docs/api.md')

/** What an example says that it prints. */
const expected = (code: string) => Array.from(code.matchAll(/^console\.log\(.*\) \/\/ (.*)$/gm), ([, output]) => output)

const end = '--- end'

describe('behaviour: the API reference', () => {
  it('has everything that is exported, each function and class with an example that imports it', () => {
    for (const [name, value] of Object.entries(evenkeel)) {
      const isClass = typeof value === 'function' && /^class/.test(String(value))
      expect(page).toContain(`\n### ${isClass ? 'class ' : ''}${name}\n`)
      if (typeof value !== 'function') continue
      expect(
        examples.filter(({ code }) => new RegExp(`^import {.*\\b${name}\\b`, 'm').test(code)).length,
        name
      ).toBeGreaterThan(0)
    }
  })

  it('has examples that print what they say, as the README has', () => {
    const all = [...examples, ...examplesOf('README.md')]
    expect(all.length).toBeGreaterThan(examples.length)
    // One process for all: an import becomes a variable of a block.
    const program = all.map(({ code }) => {
      const block = code.replace(/^import ({.*}) from (.*)$/gm, 'const $1 = await import($2)')
      return `{\n${block}\n}\nconsole.log(${JSON.stringify(end)})`
    })
    const { code, stdout, stderr } = run(program.join('\n'))
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const printed = stdout.split(`${end}\n`)
    expect(printed).toHaveLength(all.length + 1)
    for (const [i, { code, where }] of all.entries()) {
      const outputs = expected(code)
      expect(outputs.length, where).toBe(code.split('console.log(').length - 1)
      expect(printed[i], where).toBe(outputs.map(output => `${output}\n`).join(''))
    }
  })
})
