// Rule 24 in everything public: functions, layers, calls off the event loop, padding, axes, layouts, gradients, embeddings.
import { describe, expect, it } from 'vitest'
import { backend, backends } from '../../dist/esm/index.js'
import { elementDifferences } from '../support/element_calls.ts'
import { long, node } from '../support/process.ts'

describe.each(backends)('equality: calls with elements of 16 bits on %s', name => {
  // The kernels of all backends are held against each other in elements.test.ts.
  it.runIf(long || name === backend)('give the rounding of their float32 results', async () => {
    const found: string[] = []
    if (name === backend) {
      for await (const difference of elementDifferences(long)) found.push(difference)
    } else {
      const program = `
        import { elementDifferences } from './test/support/element_calls.ts'
        for await (const difference of elementDifferences(true)) console.log(difference)`
      const args = ['--import', 'tsx', '--input-type=module', '-e', program]
      const { stdout, stderr } = node(args, { EVENKEEL_BACKEND: name })
      expect(stderr).toBe('')
      found.push(...stdout.trim().split('\n'))
    }
    expect(found.slice(0, 20)).toEqual([expect.stringMatching(/^\d{3,} calls$/)])
  })
})
