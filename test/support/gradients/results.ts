// What the equality tests of the gradients of functions and layers share: how ops are described, and results compared.
import { expect } from 'vitest'
import type { Statistic } from '../../../dist/esm/kernels/operands.js'
import { expectSameBits } from '../bits.ts'
import type { RowGradientCall } from './model.ts'

// biome-ignore lint/suspicious/noExplicitAny: functions and layers of every kind
export type Loose = any
export type Options = { [name: string]: unknown }
export type Operands = Options & Partial<RowGradientCall>

/** What a form of an op has in function and layer, and the same as the model takes it. */
export interface Form {
  /** Parameters of the layer, by their names in the function. */
  readonly layer?: Options
  /** Options of a call. */
  readonly call?: Options
  readonly operands?: Operands
}

export interface RowFunction {
  readonly name: string
  backward(dy: Loose, x: Loose, shape: Loose, options?: Loose): Loose
  layer(shape: Loose, options: Loose): Loose
  /** What the forward saves for the backward. */
  readonly saved: readonly ('mean' | 'rstd')[]
  forward(x: Loose, shape: Loose, options: Loose): unknown
  readonly hasResidual: boolean
  readonly eps: number
  /** Results of the model, by the names of the function's. */
  model(call: RowGradientCall & Operands): { readonly [name: string]: Statistic | undefined }
  /** Forms for rows of so many elements. */
  forms(size: number): Form[]
}

/** Names of all results. */
export const all = ['dx', 'dweight', 'dbias', 'dresidual', 'dscale'] as const
export const dataOf = (result: Loose): Float32Array =>
  (ArrayBuffer.isView(result) ? result : result.data) as Float32Array

/** Fails unless these results, all of float32, are the model's rounded, as far as they are wanted. */
export function expectModel(
  actual: { readonly [name: string]: Loose },
  expected: { readonly [name: string]: Statistic | undefined },
  what: string
): void {
  expect(actual.dx).toBeDefined()
  for (const name of all) {
    if (actual[name] === undefined) continue
    const wanted = expected[name]
    if (!wanted) expect.fail(`${what}: the model has no ${name}`)
    else expectSameBits(dataOf(actual[name]), Float32Array.from(wanted), `${what}: ${name}`)
  }
}

/** Fails unless two results are the same. */
export function expectEqual(
  actual: { readonly [name: string]: Loose },
  expected: { readonly [name: string]: Loose },
  what: string
) {
  for (const name of all) {
    expect(actual[name] === undefined, `${what}: ${name}`).toBe(expected[name] === undefined)
    if (expected[name] !== undefined) expectSameBits(dataOf(actual[name]), dataOf(expected[name]), `${what}: ${name}`)
  }
}
