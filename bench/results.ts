// What a run gives: bench/results/<cpu>/results.json. Tables and charts are made of it alone.
import type { LoopPauses } from './embeddings_problem.ts'
import type { GradientOp } from './gradients_problem.ts'
import type { Op } from './problem.ts'

/** One candidate's part in a comparison. */
export interface Result {
  readonly name: string
  /** Whose process it ran in: a backend's name, or a peer's. */
  readonly contender: string
  /** Median nanoseconds of a call. */
  readonly nanoseconds: number
  /** Largest error in units in the last place (truth.ts); null: NaN or infinite; a copy has none. */
  readonly ulp?: number | null
}

/** What a comparison is for. */
export type Group = 'family' | 'call' | 'threads' | 'variants'

/** Candidates that were timed in turn. */
export interface Comparison {
  readonly group: Group
  readonly op: Op
  readonly dims: readonly number[]
  readonly channelsLast: boolean
  /** What has this shape. */
  readonly name: string
  readonly results: readonly Result[]
}

/** The errors of all implementations on one kind of numbers. */
export interface Accuracy {
  readonly op: Op
  readonly dims: readonly number[]
  readonly numbers: string
  readonly errors: { readonly [name: string]: number | null }
}

/** Ours against onnxruntime-node on random shapes of N(3,0.5), in units in the last place, at most. */
export interface Live {
  readonly op: Op
  readonly shapes: number
  readonly difference: number
  readonly ours: number
  readonly theirs: number
  /** Relative, of the running statistics; training only. */
  readonly statistics?: number
}

/** How many milliseconds the event loop let a probe wait, which asked every millisecond. */
export interface Pauses {
  readonly p99: number
  /** The longest of a run with all jobs, the median of all runs. */
  readonly longest: number
  /** The longest of all. */
  readonly worst: number
}

export interface EventLoop {
  readonly dims: readonly [number, number]
  readonly runs: number
  /** Of each run. */
  readonly jobs: number
  readonly threads: number
  /** One synchronous call, on the main thread and `threads`; on one thread. */
  readonly call: number
  readonly callOnOne: number
  readonly idle: Pauses
  readonly synchronous: Pauses
  readonly transfer: Pauses
  readonly shared: Pauses
}

/** Forward and backward of one shape: times in nanoseconds. */
export interface Gradients {
  readonly op: GradientOp
  readonly dims: readonly number[]
  readonly channelsLast: boolean
  /** The quickest copy of x. */
  readonly copy: { readonly name: string; readonly nanoseconds: number }
  /** The time of dx = x + dy, where that was compiled: from memory it reads and writes what gradients do. */
  readonly sum?: number | undefined
  /** By task and who does it. */
  readonly times: { readonly [label: string]: number }
  /** By who makes them, of dx, dweight and dbias: the largest error in parts of the largest element. */
  readonly errors: { readonly [who: string]: readonly number[] }
}

/** Nanoseconds. */
export interface Time {
  readonly median: number
  readonly quickest: number
}

/** From hidden states to int8 codes. */
export interface Embeddings {
  readonly shapes: readonly { readonly name: string; readonly times: { readonly [who: string]: Time } }[]
  /** A call, and its kernels alone. */
  readonly beside: readonly { readonly name: string; readonly times: readonly Time[] }[]
  readonly loop: LoopPauses
}

/** Calls of one backend, in no comparison with others. Times are nanoseconds where not said. */
export interface Calls {
  /** LayerNorm of one row: the kernel where it could be called alone, a prepared layer, the function with weight and bias. */
  readonly rows: readonly {
    readonly elements: number
    readonly kernel?: number
    readonly layer: number
    readonly function: number
  }[]
  readonly small: { readonly [name: string]: number }
  /** A prepared layer before and after so many other kinds of calls. */
  readonly kinds: { readonly count: number; readonly before: number; readonly after: number }
  /** Milliseconds of layerNorm over the axes 0 and 2, and of a plain loop. */
  readonly axes: { readonly dims: readonly number[]; readonly call: number; readonly plain: number }
  /** Milliseconds of LayerNorm, 45 % of the positions padded. */
  readonly padding: {
    readonly dims: readonly number[]
    readonly none: number
    readonly lengths: number
    readonly mask: number
  }
  /** Milliseconds until forwardAsync gives its Promise. */
  readonly promises: { readonly [name: string]: number }
}

export interface Machine {
  readonly cpu: string
  /** Cores that this process may use. */
  readonly cores: number
  /** Bytes of the last-level cache; undefined where the system does not say. */
  readonly cache?: number
  readonly platform: string
  readonly node: string
  /** All that run here, best first. */
  readonly backends: readonly string[]
  readonly backend: string
}

export interface Results {
  readonly command: string
  readonly seconds: number
  readonly machine: Machine
  /** Versions of those that took part. */
  readonly versions: { readonly [name: string]: string }
  /** Who did not take part, and why. */
  readonly absent: readonly { readonly name: string; readonly why: string }[]
  readonly accuracy: readonly Accuracy[]
  readonly live: readonly Live[]
  readonly comparisons: readonly Comparison[]
  readonly eventLoop?: EventLoop
  readonly gradients?: readonly Gradients[]
  readonly embeddings?: Embeddings
  /** Of ours alone, by the backend. */
  readonly calls?: { readonly [backend: string]: Calls }
}

/** Nanoseconds of a candidate; NaN where it took no part. `contender` tells copies in several processes apart. */
export function timeOf(comparison: Comparison | undefined, name: string, contender?: string): number {
  const found = comparison?.results.find(one => one.name === name && (!contender || one.contender === contender))
  return found?.nanoseconds ?? Number.NaN
}

/** The quickest of those that a test picks; NaN where there is none. */
export function quickest(comparison: Comparison | undefined, wanted: (one: Result) => boolean): number {
  const times = comparison?.results.filter(wanted).map(({ nanoseconds }) => nanoseconds) ?? []
  return times.length > 0 ? Math.min(...times) : Number.NaN
}

/** A comparison of a group by its op and dimensions. */
export const find = (results: Results, group: Group, op: Op, ...dims: number[]) =>
  results.comparisons.find(one => one.group === group && one.op === op && String(one.dims) === String(dims))
