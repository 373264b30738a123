// Calls that take several kernels, one after the other: written once, run at once or off the event loop.
import { kernelOf } from '../backend/choice.js'
import type { Call, Kernel, Op } from '../kernels/index.js'
import type { CallMemory } from './async_memory.js'
import type { Signal } from './async_options.js'

/** A call of a kernel. */
interface Step {
  readonly name: Op
  readonly call: object
}

/** Yields the calls, and gets each back with its arrays as they are then; returns what came of them. */
export type Plan<Result> = Generator<Step, Result, object>

/** One call of a plan: `const done = yield* step('permute', call)`. */
export function* step<Name extends Op>(name: Name, call: Call<Name>): Generator<Step, Call<Name>, object> {
  return (yield { name, call }) as Call<Name>
}

/** Runs all calls at once. */
export function runPlan<Result>(plan: Plan<Result>): Result {
  let next = plan.next()
  while (!next.done) {
    const { name, call } = next.value
    const kernel = kernelOf(name) as Kernel<never>
    kernel(call as never)
    next = plan.next(call)
  }
  return next.value
}

/** Runs them off the event loop. The signal counts until the first has begun. */
export async function runPlanAsync<Result>(memory: CallMemory, plan: Plan<Result>, signal?: Signal): Promise<Result> {
  let next = plan.next()
  let waiting = signal
  while (!next.done) {
    const { name, call } = next.value
    next = plan.next(await memory.run(name, call as never, waiting))
    waiting = undefined
  }
  return next.value
}
