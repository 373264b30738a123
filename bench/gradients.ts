// Gradients: our backward against a copy of x, a plain loop and PyTorch, alone and together with the forward.
import { createHash } from 'node:crypto'
import os from 'node:os'
import { type Contender, textOf } from '../dist/esm/cli/bench/contender.js'
import { measure } from '../dist/esm/cli/bench/measure.js'
import { PLAIN } from '../dist/esm/cli/bench/rows.js'
import { backend } from '../dist/esm/index.js'
import { isCopy, isSum } from './copies.ts'
import {
  BACKWARD,
  BOTH,
  errorsOf,
  exactGradients,
  FLOAT32_SUMS,
  type GradientOp,
  gradientProblem,
  labelOf,
  onThreads,
  outputs,
  takesTwo
} from './gradients_problem.ts'
import { titles } from './problem.ts'
import type { Gradients } from './results.ts'
import { compared, startOwn, startTorch } from './start.ts'

interface Shape {
  readonly op: GradientOp
  readonly dims: readonly number[]
  readonly channelsLast?: boolean
  readonly quick?: boolean
  /** Whether forward and backward together are timed on two threads as well. */
  readonly two?: boolean
}

const rowShapes = [
  { dims: [64, 768], quick: true },
  { dims: [1024, 768], quick: true, two: true },
  { dims: [16384, 768], two: true },
  { dims: [4096, 4096] }
]
const shapes: readonly Shape[] = [
  ...rowShapes.map(shape => ({ op: 'layerNorm' as const, ...shape })),
  ...rowShapes.map(shape => ({ op: 'rmsNorm' as const, ...shape })),
  { op: 'groupNorm', dims: [1, 256, 16, 16], quick: true },
  { op: 'groupNorm', dims: [16, 256, 64, 64], two: true },
  { op: 'groupNorm', dims: [16, 64, 64, 256], channelsLast: true },
  { op: 'batchNormTraining', dims: [8, 64, 14, 14], quick: true },
  { op: 'batchNormTraining', dims: [8192, 256] },
  { op: 'batchNormTraining', dims: [64, 64, 56, 56], two: true },
  { op: 'batchNormTraining', dims: [64, 56, 56, 64], channelsLast: true }
]
/** Milliseconds that two threads run before each sample. */
const SETTLE = 150

const isRows = (op: GradientOp) => op === 'layerNorm' || op === 'rmsNorm'
/** The backends that take part. */
const ours: readonly string[] = [...new Set([...compared, 'js'])]
const isOurs = (contender: string) => ours.includes(contender)

/** Nothing but reading and writing. */
const isPlain = (name: string) => isCopy(name) || isSum(name)

function isTimed(name: string, contender: string, { two }: Shape, quick: boolean): boolean {
  if (isPlain(name)) return contender === backend
  if (contender === 'js' || contender === PLAIN) return name === BACKWARD
  if (name === onThreads(BOTH, 2)) {
    return !quick && two === true && os.availableParallelism() > 1 && (contender === backend || !isOurs(contender))
  }
  return name === BACKWARD || name === BOTH
}

/**
 * PyTorch makes new tensors. glibc takes those above 32 MiB from the system anew each time, and of their pages a virtual machine may
 * make ten times the work of the kernel (measured): it is to keep them.
 */
const KEPT_MEMORY = { MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: String(32 * 2 ** 30) }

/** All that take part in the gradients. */
export class GradientField {
  readonly #contenders: Contender[] = []
  readonly #folder: string
  readonly #quick: boolean

  constructor(folder: string, quick: boolean) {
    this.#folder = folder
    this.#quick = quick
  }

  async start(): Promise<void> {
    for (const one of [
      await startOwn('gradients_process.ts', this.#folder, ours),
      await startTorch('gradients_torch.py', KEPT_MEMORY)
    ]) {
      this.#contenders.push(...one.contenders)
    }
  }

  end(): void {
    for (const contender of this.#contenders) contender.end()
  }

  /** Checks and times all shapes of an op. */
  async compare(op: GradientOp): Promise<Gradients[]> {
    const asked = shapes.filter(shape => shape.op === op && (shape.quick || !this.#quick))
    if (isRows(op)) await warmUp(this.#contenders, op, this.#folder)
    const found: Gradients[] = []
    for (const shape of asked) found.push(await compare(this.#contenders, shape, this.#folder, this.#quick))
    return found
  }
}

const rounded = (value: number) => Number(value.toPrecision(5))

const digestOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  createHash('sha1')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex')

/** Checks what everyone makes of one shape, then times all of them in turn. */
async function compare(
  contenders: readonly Contender[],
  shape: Shape,
  folder: string,
  quick: boolean
): Promise<Gradients> {
  const { op, dims, channelsLast = false } = shape
  const key = String(dims)
  const given = gradientProblem(shape)
  const exact = exactGradients(given)
  const text = textOf(given, folder)
  const errors: { [who: string]: number[] } = {}
  const entrants: { label: string; timed: Parameters<typeof measure>[0][number] }[] = []
  let first: string | undefined
  const lists = await Promise.all(contenders.map(contender => contender.make(key, text)))
  for (const [k, contender] of contenders.entries()) {
    const mine = isOurs(contender.name)
    for (const { name } of lists[k]) {
      if (!isTimed(name, contender.name, shape, quick)) continue
      const label = isPlain(name) ? name : labelOf(name, contender.name)
      const fail = (what: string) => {
        throw new Error(`${titles[op]} [${key}], ${label}: ${what}`)
      }
      if (isCopy(name)) {
        if ((await contender.digest(key, name)) !== digestOf(given.x)) fail('not a copy')
      } else if (isSum(name)) {
        const sum = given.x.map((value, i) => value + given.dy[i])
        if ((await contender.digest(key, name)) !== digestOf(sum)) fail('not the sum')
      } else if (mine && first !== undefined) {
        if ((await contender.digest(key, name)) !== first) fail('other bits')
      } else {
        const found = errorsOf(await contender.result(key, name, folder), exact) ?? fail('another number of results')
        for (const [i, { worst, isRounded }] of found.entries()) {
          if (!(mine ? isRounded : worst <= FLOAT32_SUMS)) fail(`${outputs[i]} is ${worst} of the largest off`)
        }
        if (mine) first = await contender.digest(key, name)
        if (name === BACKWARD || mine) errors[mine ? 'ours' : contender.name] = found.map(({ worst }) => rounded(worst))
      }
      entrants.push({
        label,
        timed: {
          warm: milliseconds => contender.warm(key, name, milliseconds),
          time: calls => contender.time(key, name, calls),
          settle: takesTwo(name) ? SETTLE : 0
        }
      })
    }
  }
  const medians = await measure(
    entrants.map(({ timed }) => timed),
    quick ? 16 : 100,
    { rounds: quick ? 9 : shape.two ? 7 : 15 }
  )
  for (const contender of contenders) await contender.drop(key)
  const times = entrants.map(({ label }, i): [string, number] => [label, rounded(medians[i])])
  const copies = times.filter(([name]) => isCopy(name)).sort(([, a], [, b]) => a - b)
  const [name, nanoseconds] = copies[0]
  return {
    op,
    dims,
    channelsLast,
    copy: { name, nanoseconds },
    sum: times.find(([name]) => isSum(name))?.[1],
    times: Object.fromEntries(times.filter(([name]) => !isPlain(name))),
    errors
  }
}

/** Our TypeScript and the plain loop see several numbers of rows first: V8 makes other code for loops that know one only. */
async function warmUp(contenders: readonly Contender[], op: GradientOp, folder: string): Promise<void> {
  for (const dims of [
    [256, 768],
    [1, 768],
    [32, 384]
  ]) {
    const text = textOf(gradientProblem({ op, dims }), folder)
    for (const contender of contenders.filter(({ name }) => name === 'js' || name === PLAIN)) {
      await contender.make('first', text)
      await contender.warm('first', BACKWARD, 50)
      await contender.drop('first')
    }
  }
}
