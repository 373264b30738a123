// The comparisons of a run: who takes part in which, on which shapes.
import type { Contender } from '../dist/esm/cli/bench/contender.js'
import { named, ORT, PLAIN, TRANSFORMERS } from '../dist/esm/cli/bench/rows.js'
import { backend, getNumThreads } from '../dist/esm/index.js'
import { isCopy } from './copies.ts'
import { type Entrant, type Field, isOurs } from './field.ts'
import { type Op, problemOf } from './problem.ts'
import { variantOps } from './report.ts'
import type { Comparison } from './results.ts'
import { COLS, shapes, threadRows, variantShapes, widths } from './shapes.ts'
import { compared, contending } from './start.ts'
import { threaded } from './targets.ts'

const isCompiled = ({ name, contender }: Entrant) => name === PLAIN || (contender.name === 'js' && isOurs(name))

/** Kernels of all backends, the public calls of the best one; of the others what the table of targets needs. */
function inFamily({ name, contender }: Entrant, rowOp: boolean, hasLayer: boolean): boolean {
  const own = contender.name === backend
  const isCompared = compared.includes(contender.name)
  if (isCopy(name)) return own || (rowOp && isCompared)
  if (name.startsWith('function')) return own || (isCompared && !hasLayer)
  if (name.startsWith('prepared')) return isCompared || rowOp || contender.name === 'js'
  return true
}

/** 1, 2, 4, ... and all threads. */
function threadCounts(): number[] {
  const all = getNumThreads()
  const counts = []
  for (let n = 1; n < all; n *= 2) counts.push(n)
  return [...counts, all]
}

export class Comparisons {
  readonly found: Comparison[] = []
  readonly #field: Field
  readonly #quick: boolean
  /** Milliseconds for each candidate, in so many samples; less for what is one line of many. */
  readonly #budget: number

  constructor(field: Field, quick: boolean) {
    this.#field = field
    this.#quick = quick
    this.#budget = quick ? 16 : 115
  }

  #wanted = (one: { quick?: boolean }) => one.quick || !this.#quick
  #timing = (share = 1) => [this.#budget * share, { rounds: this.#quick ? 9 : 41 }] as const

  async families(op: Op): Promise<void> {
    const rowOp = op === 'layerNorm' || op === 'rmsNorm'
    const hasLayer = !['layerNormChannels', 'normalize', 'localResponseNorm'].includes(op)
    // The JIT compiler makes other code for loops that have seen one number of rows only, at times quicker by a third
    // (measured): who is compiled sees several first, so that the first shape is timed as the others are.
    for (const rows of rowOp ? [256, 1, 32] : []) {
      const part = { given: problemOf({ op, dims: [rows, COLS] }), suffix: '' }
      for (const { contender, key, name } of await this.#field.enter('first', part, isCompiled))
        await contender.warm(key, name, 50)
    }
    for (const shape of shapes) {
      if (shape.op !== op || !this.#wanted(shape)) continue
      const part = { given: problemOf(shape), suffix: '' }
      // It takes a fifth of a second for the larger ones.
      const slow = shape.dims[0] > 1024
      const some = (one: Entrant) =>
        inFamily(one, rowOp, hasLayer) && !(slow && one.name === TRANSFORMERS && this.#quick)
      this.found.push(await this.#field.compare('family', shape.name, [part], some, ...this.#timing()))
    }
  }

  async oneRow(op: 'layerNorm' | 'rmsNorm'): Promise<void> {
    const names = [PLAIN, ...contending.flatMap(name => [named('prepared layer', name), named('function', name)])]
    for (const { cols } of widths.filter(this.#wanted)) {
      const part = { given: problemOf({ op, dims: [1, cols] }), suffix: '' }
      const some = ({ name }: Entrant) => names.includes(name) || name.startsWith('onnxruntime')
      this.found.push(await this.#field.compare('call', 'one row', [part], some, ...this.#timing(0.5)))
    }
  }

  async threads(op: 'layerNorm' | 'rmsNorm'): Promise<void> {
    for (const { rows } of threadRows.filter(one => this.#wanted(one) && (op === 'layerNorm' || one.rows >= 1024))) {
      const part = (n: number, suffix: string) => ({
        given: problemOf({ op, dims: [rows, COLS] }, undefined, rows, n),
        suffix
      })
      const parts = threadCounts().map(n => part(n, threaded('', n)))
      const ownChoice = String(parts.length)
      // To give large tensors to those that are not timed takes 40 seconds in all (measured).
      const takesPart = ({ name }: Contender) => name === ORT || name === backend || name.startsWith('PyTorch')
      if (!this.#quick) parts.push(part(0, ', its own choice'))
      const some = ({ name, key }: Entrant) =>
        name === ORT || name.startsWith('PyTorch') || (name === named('prepared layer', backend) && key !== ownChoice)
      // Threads of onnxruntime spin for some 10 ms when they are done (measured).
      const careful = { rounds: this.#quick ? 3 : 5, rest: 25 }
      this.found.push(
        await this.#field.compare('threads', 'several threads', parts, some, this.#budget * 0.75, careful, takesPart)
      )
    }
  }

  async variants(): Promise<void> {
    for (const shape of variantShapes.filter(this.#wanted)) {
      const parts = variantOps.map(op => ({ given: problemOf({ op, ...shape }), suffix: ` ${op}` }))
      const some = ({ name, contender }: Entrant) =>
        name.startsWith('kernel') ||
        compared.some(backend => name === named('prepared layer', backend)) ||
        (contender.name === PLAIN && name === PLAIN)
      this.found.push(await this.#field.compare('variants', shape.name, parts, some, ...this.#timing()))
    }
  }
}
