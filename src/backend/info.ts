// What runs, and why.
import { absence, backend, backends } from './choice.js'
import { native } from './native.js'
import { getNumThreads } from './threads.js'
import { BACKEND_NAMES, type BackendName } from './types.js'

/** What {@link backendInfo} returns. */
export interface BackendInfo {
  /** The backend that runs. */
  readonly backend: BackendName
  /** Why this one was chosen. */
  readonly why: string
  /** Those that this machine can run, best first. */
  readonly backends: readonly BackendName[]
  /** The others, and why each cannot run. */
  readonly missing: readonly { readonly name: BackendName; readonly why: string }[]
  /** Native binaries that are there and did not load, with what to do about it. */
  readonly failures: readonly { readonly path: string; readonly why: string }[]
  /** Path of the native binary, undefined where none was loaded. */
  readonly loadedFrom: string | undefined
  /** How many threads work on one large call. */
  readonly threads: number
  /** Vector extensions that the binary detected, empty without one. */
  readonly cpuFeatures: readonly string[]
  /** True where another library made this thread flush subnormal numbers to zero: native kernels undo it, 'js' cannot. */
  readonly flushesToZero: boolean
}

/**
 * Reports which backend runs and why, what does not run, and from where the binary was loaded.
 *
 * @example
 * ```ts
 * import { backend, backendInfo, backends } from 'evenkeel'
 *
 * const info = backendInfo()
 * console.log(info.backend === backend, backends.includes(backend), backends.at(-1)) // true true js
 * ```
 */
export function backendInfo(): BackendInfo {
  const { addon, path, failures, forced, failure } = native
  return {
    backend,
    why: forced !== undefined ? 'EVENKEEL_BACKEND names it' : (failure ?? 'the best that this machine can run'),
    backends,
    missing: BACKEND_NAMES.filter(name => !backends.includes(name)).map(name => ({ name, why: absence(name) })),
    failures,
    loadedFrom: path,
    threads: getNumThreads(),
    cpuFeatures: addon?.cpuFeatures ?? [],
    flushesToZero: Math.fround(1e-40) === 0
  }
}
