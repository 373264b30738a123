// The engine of one process: its threads do the jobs.
import type { Engine } from './engine.js'
import { type ShardJob, Stopped } from './job.js'
import { JobThreads } from './threads.js'

/** Does so many jobs at once. */
export function localEngine(jobs: number): Engine {
  const threads = new JobThreads(jobs)
  return {
    async run(shards, last, listener, signal) {
      let failed = false
      // Two runs at once begin at different shards: each finds done what the other did.
      const first = Math.floor(Math.random() * shards.length)
      const left = [...shards.slice(first), ...shards.slice(0, first)]
      const one = async (job: ShardJob) => {
        try {
          const done = await threads.run(job, (rows, bytes) => listener.progress(job, rows, bytes), signal)
          listener.done(job, done)
        } catch (error) {
          if (error instanceof Stopped) throw error
          failed = true
          listener.failed(job, (error as Error).message)
        }
      }
      const lane = async () => {
        for (let job = left.shift(); job; job = left.shift()) await one(job)
      }
      const lanes = await Promise.allSettled(Array.from({ length: jobs }, lane))
      for (const result of lanes) if (result.status === 'rejected') throw result.reason
      if (last.phase === 'merge' && failed) return undefined
      return threads.run(last, () => {}, signal)
    },
    close: () => threads.close()
  }
}
