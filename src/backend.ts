// Which kernels run: orders the backends that native.ts found and chooses one of them. Chosen once, at import.
import { describe, wrongType, wrongValue } from './check.js'
import { native } from './native.js'
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

/**
 * Starts a kernel in a thread, with the kernel's arguments. Each array must be over a SharedArrayBuffer, which is held, or
 * over all of an ArrayBuffer, which is detached at once. Gives the buffers of the arrays, in turn, with what was computed.
 */
// biome-ignore lint/suspicious/noExplicitAny: each kernel has arguments of its own, which the addon checks
export type Start = (...operands: any[]) => Promise<(ArrayBuffer | SharedArrayBuffer)[]>

/** One implementation of every op. */
export interface Backend {
  readonly name: BackendName
  readonly float32: Kernels
  /** For operations over rows, where kernels are native. */
  readonly prepare?: { readonly [op in keyof Kernels]?: Prepare }
  /** Where kernels are native. */
  readonly background?: { readonly [op in keyof Kernels]: Start }
}

/** What the native binary exports. */
export interface Addon {
  /** The version of the package that it was built for. */
  readonly version: string
  /** Supported here, best first. */
  readonly backends: readonly Backend[]
  /** In the binary, but not supported by this CPU or operating system. */
  readonly unsupported: readonly BackendName[]
  readonly cpuFeatures: readonly string[]
  /** Memory for the operands of prepared calls; undefined where the runtime allows no memory of the addon. */
  readonly arena: Float32Array | undefined
  /** How many threads of the process work on one call, 0 where nobody has said so yet. With a number: says so. */
  threads(n?: number): number
}

/** What came of looking for it. */
export interface Loaded {
  readonly addon?: Addon
  readonly path?: string
  /** Why there is no addon, and what to do about it. */
  readonly failure?: string
  /** Binaries that are there and did not load, and why. Another one may have loaded in their place. */
  readonly failures: readonly { readonly path: string; readonly why: string }[]
  /** Whether no binary is made for this platform: nothing is wrong then, and nobody needs a warning. */
  readonly ordinary: boolean
}

/** What the library takes from Node.js: native.ts. */
export interface Native extends Loaded {
  /** What EVENKEEL_BACKEND said at the first import. */
  readonly forced: string | undefined
  /** Name of the machine's architecture, as Node.js has it. */
  readonly arch: string
  /** How many cores this process may use. */
  readonly cores: () => number
  /** What EVENKEEL_THREADS says. */
  readonly threads: string | undefined
}

const js = { name: 'js', float32: {} as Kernels } as const satisfies Backend

/** What this machine can run, best first; the TypeScript kernels are the last entry. */
export const tables: readonly Backend[] = [...(native.addon?.backends ?? []), js]

/** Names of the backends that this machine can run, best first, always ending in 'js'. */
export const backends: readonly BackendName[] = Object.freeze(tables.map(table => table.name))

/** Why a backend is not among `backends`. */
function absence(name: BackendName): string {
  const { addon, failure, arch } = native
  if (!addon) return failure ?? ''
  if (addon.unsupported.includes(name)) return 'this CPU or operating system does not support it'
  return `not made for ${arch}`
}

function choose(): Backend {
  const { forced } = native
  if (forced === undefined) return tables[0]
  const table = tables.find(({ name }) => name === forced)
  if (table) return table
  const known = BACKEND_NAMES.find(name => name === forced)
  const why = known ? ` (${absence(known)})` : native.failure === undefined ? '' : ` (${native.failure})`
  throw new RangeError(
    `evenkeel: EVENKEEL_BACKEND expected one of ${backends.join(', ')}, got ${JSON.stringify(forced)}${why}`
  )
}

const chosen = choose()

/** Name of the backend that runs, chosen at import: the best of `backends`, or what EVENKEEL_BACKEND names. */
export const backend: BackendName = chosen.name

/**
 * Registers the TypeScript kernel of an op and gives the kernel to call: that of the chosen backend. The element type is
 * that of the table: float32.
 */
export function kernelFor<Name extends keyof Kernels>(name: Name, typescript: Kernels[Name]): Kernels[Name] {
  js.float32[name] = typescript
  return chosen.float32[name]
}

/** Memory of the addon for the operands of prepared calls; undefined without an addon, or where it may show none. */
export const arena: Float32Array | undefined = native.addon?.arena

const MOST_THREADS = 1024

/** Says how many threads the process has, where nobody has: EVENKEEL_THREADS, or all cores that it may use. */
function initialiseThreads(addon: Addon | undefined): void {
  const { threads } = native
  if (threads !== undefined && !isThreads(Number(threads))) {
    const expected = `an integer from 1 to ${MOST_THREADS}`
    throw new RangeError(`evenkeel: EVENKEEL_THREADS expected ${expected}, got ${JSON.stringify(threads)}`)
  }
  if (addon?.threads() === 0) addon.threads(threads !== undefined ? Number(threads) : native.cores())
}

const isThreads = (n: unknown) => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= MOST_THREADS

initialiseThreads(native.addon)

/**
 * How many threads work on one large call: at first what EVENKEEL_THREADS says, or all cores that this process may use. One
 * number for the whole process with its worker_threads. 1 on the TypeScript backend.
 */
export function getNumThreads(): number {
  return chosen.background && native.addon ? native.addon.threads() : 1
}

/**
 * Changes how many threads work on one large call, an integer from 1 to 1024. Results do not depend on it. Calls that are
 * not worth a second thread do not use one. The TypeScript backend has one whatever is said.
 *
 * @throws TypeError for no number, RangeError for another number
 */
export function setNumThreads(n: number): void {
  const expected = `an integer from 1 to ${MOST_THREADS}`
  if (typeof n !== 'number') throw wrongType('setNumThreads', 'n', 'a number', describe(n))
  if (!isThreads(n)) throw wrongValue('setNumThreads', 'n', expected, describe(n))
  native.addon?.threads(n)
}

/** How calls of an op are prepared on the chosen backend; undefined where they are not. */
export function preparerFor(name: keyof Kernels): Prepare | undefined {
  return chosen.prepare?.[name]
}

/** The start of an op's kernel in a thread, on the chosen backend; undefined where there are no threads. */
export function starterFor(name: keyof Kernels): Start | undefined {
  return chosen.background?.[name]
}

/** Where the running backend comes from, and why each missing one is missing. */
export interface BackendInfo {
  readonly backend: BackendName
  /** Why this one was chosen. */
  readonly why: string
  readonly backends: readonly BackendName[]
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

/** Says what runs and why. */
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
