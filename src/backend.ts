// Which kernels run: loads the addon, orders the backends, reads EVENKEEL_BACKEND. Chosen once, at import.
import { loadAddon } from './load.cjs'
import type { batch_norm } from './ops/batch_norm.js'
import type { batch_statistics } from './ops/batch_statistics.js'
import type { group_norm } from './ops/group_norm.js'
import type { layer_norm } from './ops/layer_norm.js'
import type { local_response_norm } from './ops/local_response_norm.js'
import type { normalize_kernel } from './ops/normalize.js'
import type { rms_norm } from './ops/rms_norm.js'

/** The kernels of one backend for one element type. */
export interface Kernels {
  batch_norm: typeof batch_norm
  batch_statistics: typeof batch_statistics
  group_norm: typeof group_norm
  layer_norm: typeof layer_norm
  local_response_norm: typeof local_response_norm
  normalize: typeof normalize_kernel
  rms_norm: typeof rms_norm
}

/** Instruction sets that kernels are written for, best first, and the TypeScript implementation. */
export const BACKEND_NAMES = ['avx512', 'avx2', 'neon', 'portable', 'js'] as const
export type BackendName = (typeof BACKEND_NAMES)[number]

/**
 * Prepares a call: takes a kernel's arguments, arrays to be copied now or places in the arena, and gives a function without
 * arguments.
 */
// biome-ignore lint/suspicious/noExplicitAny: each kernel has arguments of its own, which the addon checks
export type Prepare = (...operands: any[]) => () => void

/** One implementation of every op. */
export interface Backend {
  readonly name: BackendName
  readonly float32: Kernels
  /** For operations over rows, where kernels are native. */
  readonly prepare?: { readonly [op in keyof Kernels]?: Prepare }
}

const js = { name: 'js', float32: {} as Kernels } as const satisfies Backend
const loaded = loadAddon()

/** What this machine can run, best first; the TypeScript kernels are the last entry. */
export const tables: readonly Backend[] = [...(loaded.addon?.backends ?? []), js]

/** The state that the ESM and the CommonJS copy share. */
interface Shared {
  /** What EVENKEEL_BACKEND said at the first import. */
  readonly forced: string | undefined
  warned: boolean
}

function sharedState(): Shared {
  const globals = globalThis as { [key: symbol]: Shared | undefined }
  const key = Symbol.for('evenkeel')
  const state = globals[key] ?? { forced: process.env.EVENKEEL_BACKEND || undefined, warned: false }
  globals[key] = state
  return state
}

const shared = sharedState()

/** Names of the backends that this machine can run, best first, always ending in 'js'. */
export const backends: readonly BackendName[] = Object.freeze(tables.map(table => table.name))

function choose(): Backend {
  const { forced } = shared
  if (forced === undefined) return tables[0]
  const table = tables.find(({ name }) => name === forced)
  if (table) return table
  const why = loaded.failure === undefined ? '' : ` (${loaded.failure})`
  throw new RangeError(
    `evenkeel: EVENKEEL_BACKEND expected one of ${backends.join(', ')}, got ${JSON.stringify(forced)}${why}`
  )
}

const chosen = choose()

/** Name of the backend that runs, chosen at import: the best of `backends`, or what EVENKEEL_BACKEND names. */
export const backend: BackendName = chosen.name

if (!loaded.addon && shared.forced === undefined && !shared.warned) {
  shared.warned = true
  process.emitWarning(`running on the TypeScript backend: ${loaded.failure}`, { type: 'evenkeel' })
}

/**
 * Registers the TypeScript kernel of an op and gives the kernel to call: that of the chosen backend. The element type is
 * that of the table: float32.
 */
export function kernelFor<Name extends keyof Kernels>(name: Name, typescript: Kernels[Name]): Kernels[Name] {
  js.float32[name] = typescript
  return chosen.float32[name]
}

/** Memory of the addon for the operands of prepared calls; undefined without an addon, or where it may show none. */
export const arena: Float32Array | undefined = loaded.addon?.arena

/** How calls of an op are prepared on the chosen backend; undefined where they are not. */
export function preparerFor(name: keyof Kernels): Prepare | undefined {
  return chosen.prepare?.[name]
}

/** Where the running backend comes from, and why each missing one is missing. */
export interface BackendInfo {
  readonly backend: BackendName
  /** Why this one was chosen. */
  readonly why: string
  readonly backends: readonly BackendName[]
  readonly missing: readonly { readonly name: BackendName; readonly why: string }[]
  /** Path of the native binary, undefined where none was loaded. */
  readonly loadedFrom: string | undefined
  /** Vector extensions that the binary detected, empty without one. */
  readonly cpuFeatures: readonly string[]
  /** True where another library made this thread flush subnormal numbers to zero: native kernels undo it, 'js' cannot. */
  readonly flushesToZero: boolean
}

/** Says what runs and why. */
export function backendInfo(): BackendInfo {
  const { addon, path, failure } = loaded
  const why = (name: BackendName): string => {
    if (!addon) return failure ?? ''
    if (addon.unsupported.includes(name)) return 'this CPU or operating system does not support it'
    return `not made for ${process.arch}`
  }
  return {
    backend,
    why: shared.forced === undefined ? 'the best that this machine can run' : 'EVENKEEL_BACKEND names it',
    backends,
    missing: BACKEND_NAMES.filter(name => !backends.includes(name)).map(name => ({ name, why: why(name) })),
    loadedFrom: path,
    cpuFeatures: addon?.cpuFeatures ?? [],
    flushesToZero: Math.fround(1e-40) === 0
  }
}
