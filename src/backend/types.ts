// What the native binary exports, and what is known of it.
import type { ElementName } from '../kernels/elements.js'
import type { Call, Kernels, Op } from '../kernels/index.js'

export const BACKEND_NAMES = ['avx512', 'avx2', 'neon', 'portable', 'js'] as const
/** Instruction sets that kernels are written for, best first, and the TypeScript implementation. */
export type BackendName = (typeof BACKEND_NAMES)[number]

/** The operands of a call that are arrays, in order; undefined where one is absent. */
export type Arrays = readonly (ArrayBufferView | undefined)[]

/** A kernel of the addon: all numbers of a call, then its arrays (flatten.ts). */
export type NativeKernel = (numbers: Float64Array, ...arrays: Arrays) => void

/**
 * The same in a thread. Each array must be over a SharedArrayBuffer, which is held, or over all of an ArrayBuffer, which is
 * detached at once. Returns the buffers of the arrays that are there, in order, with what was computed.
 */
export type NativeStart = (numbers: Float64Array, ...arrays: Arrays) => Promise<ArrayBufferLike[]>

/** Copies the parameters and numbers of a layer; returns its kernel. */
export type NativePrepare = (numbers: Float64Array, ...arrays: Arrays) => RunPrepared | RunPreparedChannels

/** The kernel of a layer over rows. Throws, and writes nothing, unless both are Float32Arrays of as many whole rows. */
export type RunPrepared = (y: Float32Array, x: Float32Array) => void

/**
 * The same of a layer over channels: of dense tensors whose channels are first. Returns true where it ran, undefined where
 * anything is wrong, or y shares memory that it must not share: then nothing was written.
 */
export type RunPreparedChannels = (
  y: Float32Array,
  x: Float32Array,
  positions: number,
  runningMean?: Float32Array,
  runningVar?: Float32Array
) => true | undefined

/** What a layer's kernel is called as, by its op. */
type RunPreparedOf<Name extends Op> = Name extends ChannelOp ? RunPreparedChannels : RunPrepared

/** Operations over channels that have layers. */
export type ChannelOp = 'batch_norm' | 'group_norm'

/** A backend's functions for one type of elements. */
export interface NativeTables {
  readonly run: { readonly [op in Op]: NativeKernel }
  readonly start: { readonly [op in Op]: NativeStart }
  /** Of operations that have layers. */
  readonly prepare: { readonly [op in Op]?: NativePrepare }
}

/** A backend of the addon. */
export type NativeBackend = { readonly name: BackendName } & { readonly [element in ElementName]: NativeTables }

/** What the native binary exports. */
export interface Addon {
  /** The version of the package that it was built for. */
  readonly version: string
  /** The operands of each kernel as native/ops.h has them. */
  readonly signatures: { readonly [op in Op]: string }
  /** Supported here, best first. */
  readonly backends: readonly NativeBackend[]
  /** In the binary, but not supported by this CPU or operating system. */
  readonly unsupported: readonly BackendName[]
  readonly cpuFeatures: readonly string[]
  /** How many threads of the process work on one call, 0 where no number was set yet. With a number: sets it. */
  threads(n?: number): number
}

/** One implementation of every op. */
export interface Backend {
  readonly name: BackendName
  readonly float32: Kernels
  /** Runs a kernel in a thread, where there are threads. */
  readonly start?: { readonly [op in Op]: (call: Call<op>) => Promise<ArrayBufferLike[]> }
  /** Prepares a layer's kernel, where that is native. */
  readonly prepare?: { readonly [op in Op]?: (call: Partial<Call<op>>) => RunPreparedOf<op> }
}

/** What came of looking for the native binary. */
export interface Loaded {
  readonly addon?: Addon
  readonly path?: string
  /** Why there is no addon, and what to do about it. */
  readonly failure?: string
  /** Binaries that are there and did not load, and why. Another one may have loaded in their place. */
  readonly failures: readonly { readonly path: string; readonly why: string }[]
  /** Whether no binary is made for this platform: nothing is wrong then, and no warning is due. */
  readonly ordinary: boolean
}

/** What the library takes from Node.js: native.ts. */
export interface Native extends Loaded {
  /** EVENKEEL_BACKEND at the first import. */
  readonly forced: string | undefined
  /** Name of the machine's architecture, as Node.js has it. */
  readonly arch: string
  /** How many cores this process may use. */
  readonly cores: () => number
  /** EVENKEEL_THREADS. */
  readonly threads: string | undefined
  /** Memory with nothing in it yet: whatever was there before. */
  readonly allocate?: (bytes: number) => ArrayBuffer | undefined
}
