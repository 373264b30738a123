// docs/api.md: every example in it runs and prints what stands behind its console.log. That the page is what the docstrings
// say, the step `reference` of .ci/run checks.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as evenkeel from '../../dist/esm/index.js'
import { root, run } from '../support/process.ts'

const page = readFileSync(join(root, 'docs/api.md'), 'utf8')
const examples = Array.from(page.matchAll(/^```ts\n(.*?)^```$/gms), ({ 1: code, index }) => ({
  code,
  line: page.slice(0, index).split('\n').length
}))
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

  it('has examples that print what they say', () => {
    // One process for all: an import becomes a variable of a block.
    const program = examples.map(({ code }) => {
      const block = code.replace(/^import ({.*}) from (.*)$/gm, 'const $1 = await import($2)')
      return `{\n${block}\n}\nconsole.log(${JSON.stringify(end)})`
    })
    const { code, stdout, stderr } = run(program.join('\n'))
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const printed = stdout.split(`${end}\n`)
    expect(printed).toHaveLength(examples.length + 1)
    for (const [i, { code, line }] of examples.entries()) {
      expect(expected(code).length, `line ${line}`).toBe(code.split('console.log(').length - 1)
      expect(printed[i], `line ${line}`).toBe(
        expected(code)
          .map(output => `${output}\n`)
          .join('')
      )
    }
  })
})
