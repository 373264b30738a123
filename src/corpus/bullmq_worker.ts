// A worker: takes jobs from the queue and does them in its threads.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job as QueueJob } from 'bullmq'
import { printable } from '../backend/printable.js'
import { type Done, type Job, Stopped } from './job.js'
import { connect, countOpen, countRuns, prefix, queueName, withinTime } from './redis.js'
import { jobLine } from './report.js'
import { JobError, runInThread, shareCores } from './threads.js'
import { workerName } from './work.js'

/**
 * A job belongs to its worker as long as the worker renews the lock, every third of this time; a thread does the job, so
 * that nothing keeps the worker from it. A killed worker's job goes back into the queue one to two checks after its lock ended
 * (measured, with the values below: docs/corpus.md). A job may lose so many workers: each time all it costs is its own time.
 */
export const settings = { lockDuration: 9000, lockRenewTime: 3000, stalledInterval: 3000, maxStalledCount: 1000 }

export interface WorkerOptions {
  readonly jobs: number
  readonly drain: boolean
  readonly json: boolean
}

/** Works until `signal`, or with `drain` until nothing is left; returns the exit code. */
export async function workOnQueue(
  url: string,
  { jobs, drain, json }: WorkerOptions,
  signal: AbortSignal
): Promise<number> {
  const connection = await connect(url)
  const { bullmq, redis, queue, name } = connection
  shareCores(jobs)
  const say = (event: string, values: object, line: string) =>
    console.log(json ? JSON.stringify({ event, ...values }) : printable(line))
  let lastError = ''
  const complain = (error: unknown) => {
    const message = connection.describe(error)
    if (message !== lastError) console.error(`evenkeel: ${printable(message)}`)
    lastError = message
  }

  async function process(queued: QueueJob<Job, Done>, token?: string): Promise<Done> {
    const job = queued.data
    const label = 'input' in job ? job.input : job.phase
    let last = 0
    try {
      const done = await runInThread(
        job,
        (rows, bytes) => {
          if (performance.now() - last < 1000) return
          last = performance.now()
          queued.updateProgress({ rows, bytes }).catch(complain)
        },
        signal
      )
      say('done', { label, ...done }, 'input' in job ? jobLine(label, done) : `${label}: done`)
      return done
    } catch (error) {
      if (error instanceof Stopped) {
        // Back into the queue, for another worker.
        await queued.moveToWait(token)
        throw new bullmq.WaitingError()
      }
      const { message } = error as Error
      say('failed', { label, message }, `${label}: ${message}`)
      throw error instanceof JobError && error.transient ? error : new bullmq.UnrecoverableError(message)
    }
  }

  const worker = new bullmq.Worker<Job, Done>(queueName, process, {
    connection: redis,
    prefix,
    concurrency: jobs,
    name: workerName(),
    runRetryDelay: 1000,
    ...settings
  })
  worker.on('error', complain)
  await worker.waitUntilReady()
  say('ready', { worker: workerName(), redis: name }, `${workerName()} waits for work on Redis ${name}`)
  try {
    while (!signal.aborted) {
      await sleep(500, undefined, { signal }).catch(() => {})
      if (!drain || signal.aborted || redis.status !== 'ready') continue
      const open = await countOpen(queue)
      if (Object.values(open).every(count => count === 0) && (await countRuns(redis)) === 0) break
    }
  } finally {
    // Gone from here, or without Redis: the lock's end says the same.
    await withinTime(worker.close(), 5000)
    await connection.close()
  }
  return 0
}
