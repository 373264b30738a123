// docs/guide.md and docs/embeddings.md: every sample and command in them runs, and prints what stands below it.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { node, type Outcome, root, shell } from '../support/process.ts'

interface Sample {
  readonly language: string
  readonly code: string
  readonly line: number
  readonly outputs: string[]
}

/** The fenced blocks of a document: each that runs, with the text blocks that follow it. */
function samples(document: string): Sample[] {
  const guide = readFileSync(join(root, document), 'utf8')
  const found: Sample[] = []
  for (const { 1: language, 2: code, index } of guide.matchAll(/^```(\w*)\n(.*?)^```$/gms)) {
    if (language === 'text') found[found.length - 1].outputs.push(code)
    else found.push({ language, code, line: guide.slice(0, index).split('\n').length, outputs: [] })
  }
  return found
}

/** Scripts of packages with lockfiles of their own: test/examples/stores.test.ts runs them and reads what stands below. */
const elsewhere = (code: string) => code.startsWith('node examples/stores/')

/** A command of a document, without npx and npm, which would start slowly and build first. */
function command(line: string): Outcome {
  if (line.startsWith('mkdir ')) return shell(line)
  const [program, ...args] = line
    .replace(/^npx evenkeel /, 'dist/esm/cli/index.js ')
    .replace(/^npm run example /, 'node_modules/tsx/dist/cli.mjs ')
    .replace(/^npm start$/, 'node_modules/tsx/dist/cli.mjs examples/embeddings.ts')
    .split(' ')
  expect(program, line).toMatch(/\.m?js$/)
  return node([program, ...args])
}

describe.each(['docs/guide.md', 'docs/embeddings.md'])('behaviour: %s', document => {
  const found = samples(document).filter(({ code }) => !elsewhere(code))

  it.each(found.filter(({ language }) => language !== 'js'))('line $line: $language', ({ language, code, outputs }) => {
    expect(language).toMatch(/^(ts|sh)$/)
    const outcomes =
      language === 'ts' ? [node(['--input-type=module', '-e', code])] : code.trim().split('\n').map(command)
    for (const { code, stderr } of outcomes) {
      expect(stderr).toBe('')
      expect(code).toBe(0)
    }
    const printed = outcomes.map(({ stdout }) => stdout).join('')
    if (language === 'ts') expect(outputs).toEqual([printed])
    for (const output of outputs) expect(printed).toContain(output)
  })

  it('quotes scripts as they are', () => {
    const texts = ['examples/stores', 'examples/tfjs'].flatMap(folder => {
      const scripts = readdirSync(join(root, folder)).filter(name => name.endsWith('.mjs'))
      return scripts.map(name => readFileSync(join(root, folder, name), 'utf8'))
    })
    for (const { code, line } of found.filter(({ language }) => language === 'js')) {
      expect(
        texts.some(text => text.includes(code)),
        `line ${line}`
      ).toBe(true)
    }
  })

  it('names files that are there', () => {
    const guide = readFileSync(join(root, document), 'utf8')
    for (const [, file] of guide.matchAll(/`((?:test|examples|bench)\/[\w./-]+)`/g)) {
      expect(() => readFileSync(join(root, file)), file).not.toThrow(/ENOENT/)
    }
  })
})
