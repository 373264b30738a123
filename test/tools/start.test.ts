// npm start, as a newcomer runs it: with the best backend of this machine and without a binary.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { backends } from '../../dist/esm/index.js'
import { node, root } from '../support/process.ts'

const file = 'examples/embeddings.ts'

describe('behaviour: npm start', () => {
  it('is this program', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(scripts.start).toContain(file)
  })

  it.each([...new Set([backends[0], 'js'])])('%s: all sentences are found and all checks hold', name => {
    const { code, stdout, stderr } = node(['node_modules/tsx/dist/cli.mjs', file], { EVENKEEL_BACKEND: name })
    expect(stderr).toBe('')
    expect(stdout).not.toContain('NOT SO')
    expect(code).toBe(0)
    expect(stdout).toMatch(`backend    ${name}: EVENKEEL_BACKEND names it`)
    expect(stdout).toMatch(/^ {2}float32 +22 of 22 +2048 /m)
    expect(stdout).toMatch(/^ {2}int8, unit +22 of 22 +512 /m)
    expect(stdout).toMatch(/^ {2}ubinary +22 of 22 +64 /m)
    expect(stdout).toMatch(/^ {2}Hello +0\.614 {2}Hi there!$/m)
    expect(stdout.match(/^checked {4}/gm)).toHaveLength(6)
  })
})
