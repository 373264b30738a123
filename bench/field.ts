// All that take part, each in a process of its own: gives them problems, verifies what they answer, and times them.
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { type Candidate, type Contender, textOf } from '../dist/esm/cli/bench/contender.js'
import { measure } from '../dist/esm/cli/bench/measure.js'
import { isCopy } from './copies.ts'
import { startOneDnn } from './onednn.ts'
import { type Problem, titles } from './problem.ts'
import type { Comparison, Group } from './results.ts'
import { type Absent, contending, nodeStarter, startAll, startOwn, startTorch } from './start.ts'
import { BOUND, judge } from './truth.ts'

export const isOurs = (name: string) => /^(kernel|function|prepared)/.test(name)
export const isPeer = (name: string) => !isOurs(name) && !isCopy(name)

/** A candidate of a problem, which its contender has under a key. */
export interface Entrant extends Candidate {
  readonly contender: Contender
  readonly key: string
  /** Its name in the results. */
  readonly label: string
}

/** A problem of a comparison, with what its candidates' names get at their end. */
export interface Part {
  readonly given: Problem
  readonly suffix: string
}

const finite = (value: number) => (Number.isFinite(value) ? Number(value.toPrecision(5)) : null)

/** Milliseconds that several threads run before each sample. */
const SETTLE = 150

export class Field {
  readonly folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-bench-'))
  readonly contenders: Contender[] = []
  readonly absent: Absent[] = []

  /** Starts all that can run here. */
  async start(): Promise<void> {
    const node = nodeStarter('process.ts')
    const own = await startOwn('process.ts', this.folder, contending)
    this.contenders.push(...own.contenders)
    const peers = Object.entries({ onnxruntime: 'onnxruntime-node', transformers: 'transformers.js', tfjs: 'tfjs' })
    this.contenders.push(...(await startAll(peers.map(([which, name]) => node(name, [which])))))
    const others = [await startTorch('torch_process.py'), await startOneDnn(this.folder)]
    this.contenders.push(...others.flatMap(({ contenders }) => contenders))
    this.absent.push(...[own, ...others].flatMap(({ absent }) => absent))
  }

  end(): void {
    for (const contender of this.contenders) contender.end()
    rmSync(this.folder, { recursive: true })
  }

  get versions(): { [name: string]: string } {
    return Object.fromEntries(this.contenders.map(({ name, about }) => [name, about]))
  }

  /** Gives a problem to all, or to some, under a key; those of their candidates that are wanted. */
  async enter(
    key: string,
    { given, suffix }: Part,
    wanted: (one: Entrant) => boolean,
    contenders: readonly Contender[] = this.contenders
  ): Promise<Entrant[]> {
    const text = textOf(given, this.folder)
    const lists = await Promise.all(
      contenders.map(async contender => {
        const candidates = await contender.make(key, text)
        return candidates.map(one => ({ ...one, contender, key, label: one.name + suffix })).filter(wanted)
      })
    )
    return lists.flat()
  }

  async leave(key: string, contenders: readonly Contender[] = this.contenders): Promise<void> {
    await Promise.all(contenders.map(contender => contender.drop(key)))
  }

  /**
   * Runs each once and gives its error in ULP. Throws where ours is beyond the bound, or where two of ours differ in
   * any bit of the whole tensor.
   */
  async verify(given: Problem, entrants: readonly Entrant[]): Promise<Map<Entrant, number>> {
    const errorOf = judge(given)
    const errors = new Map<Entrant, number>()
    const fail = (name: string, what: string) => {
      throw new Error(`${titles[given.op]} [${given.dims}], ${name}: ${what}`)
    }
    let first: { bits: string; error: number } | undefined
    for (const entrant of entrants) {
      const { contender, key, name, label, affine } = entrant
      if (isCopy(name)) continue
      if (!isOurs(name)) {
        errors.set(entrant, errorOf(await contender.result(key, name, this.folder), affine))
        continue
      }
      const bits = await contender.digest(key, name)
      if (!first) {
        const error = errorOf(await contender.result(key, name, this.folder))
        if (!(error <= BOUND[given.op])) fail(label, `${error} ULP off`)
        first = { bits, error }
      }
      if (bits !== first.bits) fail(label, 'other bits')
      errors.set(entrant, first.error)
    }
    return errors
  }

  /** Verifies all that are wanted, then times them in turn, `budget` milliseconds each. */
  async compare(
    group: Group,
    name: string,
    parts: readonly Part[],
    wanted: (one: Entrant) => boolean,
    budget: number,
    how: Parameters<typeof measure>[2],
    takesPart: (contender: Contender) => boolean = () => true
  ): Promise<Comparison> {
    const contenders = this.contenders.filter(takesPart)
    const entrants: Entrant[] = []
    const errors = new Map<Entrant, number>()
    for (const [i, part] of parts.entries()) {
      const some = await this.enter(String(i), part, wanted, contenders)
      for (const [entrant, error] of await this.verify(part.given, some)) {
        // On ordinary numbers whoever does the same thing is right to three digits at least.
        if (!(error < 10_000)) throw new Error(`${part.given.op}, ${entrant.label}: another result, ${error} ULP off`)
        errors.set(entrant, error)
      }
      entrants.push(...some)
    }
    const times = await measure(
      entrants.map(({ contender, key, name }) => ({
        settle: parts[Number(key)].given.threads === 1 ? 0 : SETTLE,
        warm: milliseconds => contender.warm(key, name, milliseconds),
        time: calls => contender.time(key, name, calls)
      })),
      budget,
      how
    )
    for (const i of parts.keys()) await this.leave(String(i), contenders)
    const results = entrants.map((entrant, i) => {
      const error = errors.get(entrant)
      const ulp = error === undefined ? {} : { ulp: finite(error) }
      return {
        name: entrant.label,
        contender: entrant.contender.name,
        nanoseconds: Number(times[i].toPrecision(5)),
        ...ulp
      }
    })
    const { op, dims, channelsLast } = parts[0].given
    return { group, op, dims, channelsLast: channelsLast && dims.length > 2, name, results }
  }
}
