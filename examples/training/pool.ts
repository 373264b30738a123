// Runs, divided among threads. A run has one thread to itself, so their number changes no bit.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Outcome, Run } from './train.ts'

const file = new URL('worker.mjs', import.meta.url)

/** The outcomes of runs, in their order; `done` is called as each ends. */
export async function trainAll(
  runs: readonly Run[],
  { threads = 2, backend, done }: { threads?: number; backend?: string; done?: () => void } = {}
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const queue = runs.entries()
  const env = { ...process.env, ...(backend && { EVENKEEL_BACKEND: backend }) }
  const work = async () => {
    const worker = new Worker(file, { env })
    try {
      for (const [i, run] of queue) {
        worker.postMessage(run)
        ;[outcomes[i]] = await once(worker, 'message') // an error of the worker rejects it
        done?.()
      }
    } finally {
      await worker.terminate()
    }
  }
  await Promise.all(Array.from({ length: Math.min(threads, runs.length) }, work))
  return outcomes
}
