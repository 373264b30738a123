// Timing: all candidates of one comparison in turn, many times over, so that noise meets them alike; medians.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** One thing to time; `run` does the work once. */
export interface Candidate {
  readonly name: string
  readonly run: () => void | Promise<void>
  /** Whether it leaves much garbage, which is to be gone before the next candidate's turn. */
  readonly litters?: boolean
}

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

async function time({ run }: Candidate, calls: number): Promise<number> {
  const start = process.hrtime.bigint()
  for (let i = 0; i < calls; i++) {
    const pending = run()
    if (pending) await pending
  }
  return Number(process.hrtime.bigint() - start) / calls
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]

/**
 * Median nanoseconds of one run of each candidate, in the order given. `budget` is how many milliseconds to spend on each
 * candidate, in about `rounds` samples.
 */
export async function measure(candidates: readonly Candidate[], budget: number, rounds = 41): Promise<number[]> {
  const calls: number[] = []
  for (const candidate of candidates) {
    // Warm up for a quarter of the budget, so that V8 has compiled it, and see how long one run takes.
    const end = performance.now() + budget / 4
    let one = Number.POSITIVE_INFINITY
    do one = Math.min(one, await time(candidate, 1))
    while (performance.now() < end)
    calls.push(Math.max(1, Math.round((budget * 1e6) / rounds / one)))
  }
  const samples = candidates.map((): number[] => [])
  const stop = performance.now() + candidates.length * budget * 2
  for (let round = 0; round < rounds && (round < 5 || performance.now() < stop); round++) {
    for (const [i, candidate] of candidates.entries()) {
      samples[i].push(await time(candidate, calls[i]))
      if (candidate.litters) collectGarbage()
    }
  }
  return samples.map(median)
}
