// Timing: all candidates of one comparison in turn, many times over, so that noise meets them alike; medians.

/** One thing to time; both give nanoseconds. */
export interface Timed {
  /** Warms up for so many milliseconds; the quickest run. */
  readonly warm: (milliseconds: number) => Promise<number>
  /** The mean of so many runs. */
  readonly time: (calls: number) => Promise<number>
  /**
   * How many milliseconds to run before each sample, untimed: the system takes some 100 ms until it has put each of
   * several threads on a core of its own (measured on Linux).
   */
  readonly settle?: number
}

type Run = () => Promise<void> | void

/** Nanoseconds of a run, the mean of so many. */
export async function time(run: Run, calls: number): Promise<number> {
  const start = process.hrtime.bigint()
  for (let i = 0; i < calls; i++) {
    const pending = run()
    if (pending) await pending
  }
  return Number(process.hrtime.bigint() - start) / calls
}

/** Runs for some milliseconds, so that it is compiled; nanoseconds of the quickest run. */
export async function warm(run: Run, milliseconds: number): Promise<number> {
  const end = performance.now() + milliseconds
  let one = Number.POSITIVE_INFINITY
  do one = Math.min(one, await time(run, 1))
  while (performance.now() < end)
  return one
}

/** A run in this process. */
export const here = (run: Run): Timed => ({
  warm: milliseconds => warm(run, milliseconds),
  time: calls => time(run, calls)
})

/** Milliseconds of warming up: the JIT compiler takes some to give its best. */
const SHORTEST = 15
/** Samples that each candidate has at least, however slow it is. */
const LEAST = 5

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]
const wait = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

/**
 * Median nanoseconds of one run of each candidate, in the order given. `budget` is how many milliseconds to spend on
 * each candidate, in about `rounds` samples; `rest`, how many to wait after each, until threads that spin are asleep.
 */
export async function measure(
  candidates: readonly Timed[],
  budget: number,
  { rounds = 41, rest = 0 } = {}
): Promise<number[]> {
  const calls: number[] = []
  for (const { warm } of candidates) {
    calls.push(Math.max(1, Math.round((budget * 1e6) / rounds / (await warm(Math.max(budget / 4, SHORTEST))))))
    if (rest) await wait(rest)
  }
  const samples = candidates.map((): number[] => [])
  const spent = candidates.map(() => 0)
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < candidates.length; k++) {
      // There and back, so that nobody always follows the same one.
      const i = round % 2 ? candidates.length - 1 - k : k
      if (samples[i].length >= LEAST && spent[i] > budget * 1.5) continue
      const { warm, time, settle } = candidates[i]
      if (settle) await warm(settle)
      const start = performance.now()
      samples[i].push(await time(calls[i]))
      spent[i] += performance.now() - start
      if (rest) await wait(rest)
    }
  }
  return samples.map(median)
}
