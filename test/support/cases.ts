// Every case of src/cases against the model and the golden hashes, on every backend.
import { describe, expect, it } from 'vitest'
import { type Case, cases, goldenOf, runCase } from '../../dist/esm/cases/index.js'
import type { Op } from '../../dist/esm/kernels/index.js'
import type { Statistic } from '../../dist/esm/kernels/operands.js'
import golden from '../golden.json' with { type: 'json' }
import { backendsHere } from './backends.ts'
import { expectSameBits } from './bits.ts'

type Arrays = { readonly [name: string]: Statistic | Uint8Array | undefined }

/** Equality: for every case of src/cases the bits of the model, and all of them together the golden hash. */
export function testCases<Given extends { readonly name: string }>(op: Op, model: (given: Given) => Arrays): void {
  const expected = new Map<string, Arrays>()
  let made: Case[] | undefined
  /** Made once: that takes longer than to run them. */
  const all = () => {
    made ??= [...cases[op]()]
    return made
  }

  describe.each(backendsHere)(`equality: ${op} on %s`, (_, kernels) => {
    it('gives the bits of NUMERICS.md for every case', () => {
      for (const given of all()) {
        const result = runCase(op, kernels, given)
        const right = expected.get(given.name) ?? model(given as unknown as Given)
        expected.set(given.name, right)
        for (const [name, array] of Object.entries(result)) {
          const wanted = right[name]
          if (array && wanted) expectSameBits(array, wanted, `${given.name}: ${name}`)
          else if (array) expect.fail(`${given.name}: the model has no ${name}`)
        }
      }
    })

    it('reproduces the golden hashes', () => {
      expect(goldenOf(op, kernels, all())).toEqual((golden as { [name: string]: unknown })[op])
    })
  })
}
