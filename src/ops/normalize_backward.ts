// The gradients of normalize. Its kernel, normalize_backward, stands with normalize.
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { Axis } from '../call/axes.js'
import type { DtypeOption } from '../call/elements.js'
import { wrongValue } from '../call/errors.js'
import { type GradientPlaces, type Gradients, type InFloat32, readSum } from '../call/gradients.js'
import { type Known, readOptions } from '../call/options.js'
import { type PaddingOptions, paddingOptions } from '../call/padding.js'
import type { Result } from '../call/result.js'
import { type RowKernels, readRowGradients, runRowGradients, runRowGradientsAsync } from '../call/row_gradients.js'
import { type GroupsOf, type NormalizedShape, readGroups } from '../call/rows.js'
import type { Operand } from '../call/tensor.js'
import { sumOfRows } from '../kernels/gradient_sums.js'
import type { Call } from '../kernels/index.js'
import {
  type NormalizeConstants,
  type NormalizeNumbers,
  normalizeConstants,
  readNormalizeConstants
} from './normalize_call.js'

/** Options of one backward call of normalize that are not constants of the layer. */
export interface NormalizeBackwardOptions extends PaddingOptions, DtypeOption, GradientPlaces {
  /** One element; receives the gradient of `scale`. Default: new memory, where there is a scale. */
  dscale?: Operand | undefined
}

/** Options of {@link normalizeBackward}. p must be 2. */
export interface NormalizeBackwardFunctionOptions extends NormalizeBackwardOptions, NormalizeConstants {}

const layerOptions: Known<NormalizeBackwardOptions> = { ...paddingOptions, dtype: true, dx: true, dscale: true }
const functionOptions: Known<NormalizeBackwardFunctionOptions> = { ...normalizeConstants, ...layerOptions }

/** What a layer has, or the function is given. */
interface Parameters {
  readonly groups: GroupsOf
  readonly numbers: NormalizeNumbers
  /** Whether there is a scale, whose gradient is wanted. */
  readonly hasScale: boolean
}

/**
 * The gradients of {@link normalize} with p = 2: of x and of the scale, from dy, the gradient of the result. With t the normalised element
 * before the scale and g = dy * scale: where x was divided by its norm, `dx = (g - t * sum(g * t)) / norm`; where by a limit that
 * eps sets, g divided by that; with rule 'add-square' `r * (g - t * sum(g * t))` and with 'mean-square' `r * (g - t * mean(g * t))`,
 * r being 1 / what x was divided by; with 'zero' a row of zeros has zeros. dscale is the sum of dy * t. With `lengths` or `mask`,
 * padded positions have the gradient 0 and count nowhere. The same bits for any number of threads.
 *
 * @param dy gradient of the result; shape of x
 * @param x what the forward was given, not its result
 * @param normalizedShape the forward's: 768, or dimensions; for a tensor also `{ axis }`
 * @returns `dx` as x came, an array or a tensor; `dscale`, one element, where there is a scale or a place for it
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value (among them another p), before anything is written
 * @example
 * ```ts
 * import { normalizeBackward } from 'evenkeel'
 *
 * const { dx, dscale } = normalizeBackward(Float32Array.of(1, 1), Float32Array.of(0, 8), 2, { scale: 2 })
 * console.log(dx, dscale) // Float32Array(2) [ 0.25, 0 ] Float32Array(1) [ 1 ]
 * ```
 */
export function normalizeBackward<X extends Operand, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: InFloat32<NormalizeBackwardFunctionOptions> & { dx?: Dx }
): Gradients<Result<X, Dx>, Float32Array>
export function normalizeBackward<X extends Operand, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: NormalizeBackwardFunctionOptions & { dx?: Dx }
): Gradients<Result<X, Dx>>
export function normalizeBackward(
  dy: Operand,
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: NormalizeBackwardFunctionOptions = {}
): Gradients {
  const op = 'normalizeBackward'
  const { p, eps, rule, scale, ...given } = readOptions(op, options, functionOptions)
  const numbers = readNormalizeConstants(op, { p, eps, rule, scale })
  const groups = readGroups(op, normalizedShape)
  return runRowGradients(readCall(op, dy, x, given, { groups, numbers, hasScale: scale !== undefined }))
}

/** The same with a layer's constants. */
export function normalizeGradients(
  dy: Operand,
  x: Operand,
  options: NormalizeBackwardOptions,
  parameters: Parameters
): Gradients {
  const op = 'Normalize'
  return runRowGradients(readCall(op, dy, x, readOptions(op, options, layerOptions), parameters))
}

/** The same off the event loop. */
export async function normalizeGradientsAsync(
  dy: Operand,
  x: Operand,
  options: NormalizeBackwardOptions & AsyncOptions,
  parameters: Parameters
): Promise<Gradients> {
  const op = 'Normalize'
  const given = readOptions(op, options, { ...layerOptions, ...asyncOptions })
  checkAsyncOptions(op, given)
  return runRowGradientsAsync(readCall(op, dy, x, given, parameters), given)
}

function readCall(op: string, dy: Operand, x: Operand, given: NormalizeBackwardOptions, parameters: Parameters) {
  const { groups, numbers, hasScale } = parameters
  if (numbers.p !== 2) throw wrongValue(op, 'p', '2 (the gradients of other norms are not there)', String(numbers.p))
  const { dscale: place, ...options } = given
  const like = { shown: new Float32Array(0), dtype: given.dtype }
  const dscale = readSum(op, 'dscale', place, undefined, hasScale, [1], 'one number', like)
  const read = readRowGradients(op, dy, x, groups, options, undefined, undefined, false, dscale)
  const call = { ...read, columns: undefined }
  const { rule, eps, factor } = numbers
  const kernels: RowKernels = {
    name: 'normalize_backward',
    call({ dx, dy, x, shape }) {
      const dots = dscale ? new Float64Array(shape.outer) : undefined
      return { dx, dots, dy, x, shape, rule, eps, factor }
    },
    written(done) {
      const { dx, dots } = done as Call<'normalize_backward'>
      return { dx, dscale: dots && Float64Array.of(sumOfRows(dots as Float64Array, call.rows)) }
    }
  }
  return { call, kernels }
}
