// The gradients of LayerNorm. Its kernel, layer_norm_backward, stands with layer_norm.
import { type AsyncOptions, asyncOptions, checkAsyncOptions } from '../call/async_options.js'
import type { Axis } from '../call/axes.js'
import { checkPair, type Gradients, type InFloat32, type ParameterPlaces } from '../call/gradients.js'
import { checkEps, type Known, readOptions } from '../call/options.js'
import { step } from '../call/plan.js'
import type { Result } from '../call/result.js'
import {
  type RowGradientOptions,
  type RowKernels,
  readRowGradients,
  rowGradientOptions,
  runRowGradients,
  runRowGradientsAsync
} from '../call/row_gradients.js'
import { type GroupsOf, type NormalizedShape, readGroups } from '../call/rows.js'
import type { Operand } from '../call/tensor.js'

/** Options of one backward call of LayerNorm that are not parameters of the layer. */
export interface LayerNormBackwardOptions extends RowGradientOptions, ParameterPlaces {
  /** The Float64Array that the forward wrote as `mean`, one element per group. With `rstd`, or not at all. Default: computed again. */
  mean?: Float64Array | undefined
}

/** Options of {@link layerNormBackward}. */
export interface LayerNormBackwardFunctionOptions extends LayerNormBackwardOptions {
  /** The forward's. Default: none (1). */
  weight?: Operand | undefined
  /** The forward's; its numbers do not matter, only that it is there. Default: none. */
  bias?: Operand | undefined
  /** The forward's. Default: 1e-5. */
  eps?: number | undefined
}

const layerOptions: Known<LayerNormBackwardOptions> = { ...rowGradientOptions, mean: true, dbias: true }
const functionOptions: Known<LayerNormBackwardFunctionOptions> = {
  weight: true,
  bias: true,
  eps: true,
  ...layerOptions
}

/** What a layer has, or the function is given. */
interface Parameters {
  readonly groups: GroupsOf
  readonly weight: Operand | undefined
  readonly bias: Operand | undefined
  readonly eps: number
}

/**
 * The gradients of {@link layerNorm}: of x, weight, bias and residual, from dy, the gradient of the result. With t = (x - mean) * rstd and g = dy * weight, `dx = rstd * (g - mean(g) - t * mean(g * t))`, means over the group;
 * dweight is the sum of dy * t over all rows, dbias that of dy. With `lengths` or `mask`, padded positions have the gradient 0 and
 * count nowhere. The same bits for any number of threads; dx also for any division of the rows into batches.
 *
 * @param dy gradient of the result; shape of x
 * @param x what the forward was given, not its result
 * @param normalizedShape the forward's: 768, or dimensions; for a tensor also `{ axis }`
 * @returns `dx` as x came, an array or a tensor; `dweight`, `dbias`, `dresidual` where there is a weight, a bias, a residual,
 *   or a place for them
 * @throws TypeError for a wrong kind of argument, RangeError for a wrong value, before anything is written
 * @example
 * ```ts
 * import { layerNormBackward } from 'evenkeel'
 *
 * const x = Float32Array.of(1, 3, 6, 8)
 * const dy = Float32Array.of(1, 0, 0, 1)
 * const { dx, dweight, dbias } = layerNormBackward(dy, x, 2, { weight: Float32Array.of(1, 1), eps: 3 })
 * console.log(dx) // Float32Array(4) [ 0.1875, -0.1875, -0.1875, 0.1875 ]
 * console.log(dweight, dbias) // Float32Array(2) [ -0.5, 0.5 ] Float32Array(2) [ 1, 1 ]
 * ```
 */
export function layerNormBackward<X extends Operand, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: InFloat32<LayerNormBackwardFunctionOptions> & { dx?: Dx }
): Gradients<Result<X, Dx>, Float32Array>
export function layerNormBackward<X extends Operand, Dx extends Operand | undefined = undefined>(
  dy: Operand,
  x: X,
  normalizedShape: NormalizedShape | Axis,
  options?: LayerNormBackwardFunctionOptions & { dx?: Dx }
): Gradients<Result<X, Dx>>
export function layerNormBackward(
  dy: Operand,
  x: Operand,
  normalizedShape: NormalizedShape | Axis,
  options: LayerNormBackwardFunctionOptions = {}
): Gradients {
  const op = 'layerNormBackward'
  const { weight, bias, eps = 1e-5, ...given } = readOptions(op, options, functionOptions)
  const groups = readGroups(op, normalizedShape)
  const parameters = { groups, weight, bias, eps: checkEps(op, eps) }
  return runRowGradients(readCall(op, dy, x, given, parameters))
}

/** The same with a layer's parameters. */
export function layerNormGradients(
  dy: Operand,
  x: Operand,
  options: LayerNormBackwardOptions,
  parameters: Parameters
): Gradients {
  const op = 'LayerNorm'
  return runRowGradients(readCall(op, dy, x, readOptions(op, options, layerOptions), parameters))
}

/** The same off the event loop. */
export async function layerNormGradientsAsync(
  dy: Operand,
  x: Operand,
  options: LayerNormBackwardOptions & AsyncOptions,
  parameters: Parameters
): Promise<Gradients> {
  const op = 'LayerNorm'
  const given = readOptions(op, options, { ...layerOptions, ...asyncOptions })
  checkAsyncOptions(op, given)
  return runRowGradientsAsync(readCall(op, dy, x, given, parameters), given)
}

function readCall(op: string, dy: Operand, x: Operand, given: LayerNormBackwardOptions, parameters: Parameters) {
  const { groups, weight, bias, eps } = parameters
  checkPair(op, given.mean, given.rstd)
  const call = readRowGradients(op, dy, x, groups, given, weight, bias, true)
  const absent = { sum: undefined, residual: undefined, weight: undefined, bias: undefined, residualScale: 1 }
  const kernels: RowKernels = {
    name: 'layer_norm_backward',
    // By name: a spread makes V8 look for the object's shape in each call, which costs more than a small kernel (measured).
    call({ dx, dresidual, dweight, dbias, dy, x, dsum, mean, rstd, weight, shape, residualScale }) {
      return { dx, dresidual, dweight, dbias, dy, x, dsum, mean, rstd, weight, shape, residualScale, eps }
    },
    statistics: (y, x, mean, rstd, shape) => step('layer_norm', { ...absent, y, x, mean, rstd, shape, eps })
  }
  return { call, kernels }
}
