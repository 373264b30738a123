// The engine of a queue: BullMQ hands the jobs to workers. What is done stands in files; Redis knows who does what.
import { randomUUID } from 'node:crypto'
import type { FlowJob, JobsOptions } from 'bullmq'
import type { Engine, Listener } from './engine.js'
import { type Done, type Job, type LastJob, type ShardJob, Stopped } from './job.js'
import { findDone } from './manifest.js'
import { announceRun, type Connection, connect, endRun, prefix, queueName, withinTime } from './redis.js'

/** What the system refused is tried again, perhaps by another host. Failures stay for a day, for `status`. */
const jobOptions: JobsOptions = {
  attempts: 3,
  backoff: { type: 'fixed', delay: 2000 },
  removeOnComplete: true,
  removeOnFail: { age: 24 * 3600 }
}

/** Milliseconds between looks at jobs of which nothing was heard: events may be lost, and all of Redis with them. */
const lookInterval = 3000

export async function bullmqEngine(url: string): Promise<Engine> {
  const connection = await connect(url)
  const run = randomUUID()
  return {
    run: (shards, last, listener, signal) => new QueueRun(connection, run, shards, last, listener).wait(signal),
    async close() {
      await withinTime(endRun(connection.redis, run))
      await connection.close()
    }
  }
}

/** A phase on the queue: a flow whose children are the shards and whose parent is what comes after them. */
class QueueRun {
  readonly #connection: Connection
  readonly #run: string
  readonly #open: Map<string, ShardJob>
  readonly #last: LastJob
  readonly #listener: Listener
  #failed = false
  #result: Done | undefined
  #ended = false
  #lastNote: string | undefined
  #timer: NodeJS.Timeout | undefined
  /** Called when all is done; undefined when nobody waits any more. */
  #over: (() => void) | undefined

  constructor(connection: Connection, run: string, shards: readonly ShardJob[], last: LastJob, listener: Listener) {
    this.#connection = connection
    this.#run = run
    this.#open = new Map(shards.map(job => [job.id, job]))
    this.#last = last
    this.#listener = listener
  }

  async wait(signal: AbortSignal): Promise<Done | undefined> {
    const { bullmq, redis, queue } = this.#connection
    const events = new bullmq.QueueEvents(queueName, { connection: redis.duplicate(), prefix })
    events.on('error', error => this.#lost(error))
    events.on('progress', ({ jobId, data }) => {
      const job = this.#open.get(jobId)
      const { rows, bytes } = data as { rows: number; bytes: number }
      if (job) this.#listener.progress(job, rows, bytes)
    })
    events.on('completed', ({ jobId, returnvalue }) => this.#completed(jobId, returnvalue as unknown as Done))
    events.on('failed', ({ jobId, failedReason }) => this.#failedJob(jobId, failedReason))
    try {
      await events.waitUntilReady()
      await announceRun(redis, this.#run)
      await this.#removeFailed()
      await this.#add()
      await new Promise<void>(resolve => {
        this.#over = resolve
        this.#watch()
        signal.addEventListener('abort', () => resolve(), { once: true })
        if (signal.aborted) resolve()
      })
      if (signal.aborted) {
        await withinTime(this.#withdraw(), 3000)
        throw new Stopped('stopped')
      }
      if (this.#failed && this.#last.phase === 'merge') await queue.remove(this.#last.id).catch(() => {})
      return this.#result
    } finally {
      clearTimeout(this.#timer)
      this.#over = undefined
      await withinTime(events.close())
    }
  }

  #isOver(): boolean {
    if (this.#open.size > 0) return false
    return this.#ended || (this.#failed && this.#last.phase === 'merge')
  }

  /** Looks again and again, as long as the run goes on. */
  #watch(): void {
    if (this.#isOver()) this.#over?.()
    this.#timer = setTimeout(async () => {
      const ready = this.#connection.redis.status === 'ready'
      if (ready) await this.#look().catch(error => this.#lost(error))
      if (this.#over) this.#watch()
    }, lookInterval)
  }

  /** The connection is gone, and comes back. */
  #lost(error: unknown): void {
    this.#note(`Redis at ${this.#connection.name}: ${this.#connection.describe(error)}`)
  }

  #completed(id: string, done: Done): void {
    const job = this.#open.get(id)
    if (job) {
      this.#open.delete(id)
      this.#listener.done(job, done)
    } else if (id === this.#last.id) {
      this.#ended = true
      this.#result = done
    }
    if (this.#isOver()) this.#over?.()
  }

  #failedJob(id: string, message: string): void {
    const job = this.#open.get(id)
    if (job) {
      this.#open.delete(id)
      this.#failed = true
      this.#listener.failed(job, message)
    } else if (id === this.#last.id && !this.#ended) {
      this.#ended = true
      if (!this.#failed) this.#note(message)
      this.#failed = true
    }
    if (this.#isOver()) this.#over?.()
  }

  /** What Redis knows of jobs, a thousand at a time. */
  async #states(jobs: readonly Job[]): Promise<Map<Job, string>> {
    const states = new Map<Job, string>()
    for (let first = 0; first < jobs.length; first += 1000) {
      const some = jobs.slice(first, first + 1000)
      const found = await Promise.all(some.map(job => this.#connection.queue.getJobState(job.id)))
      for (const [i, job] of some.entries()) states.set(job, found[i])
    }
    return states
  }

  /** What failed in an earlier run is to be tried anew. */
  async #removeFailed(): Promise<void> {
    const { queue } = this.#connection
    for (const [{ id }, state] of await this.#states([...this.#open.values(), this.#last])) {
      if (state === 'failed') await queue.remove(id)
    }
  }

  /** Adds what is open; a job that is there already stays as it is. */
  async #add(): Promise<void> {
    const { bullmq, redis } = this.#connection
    const merge = this.#last.phase === 'merge'
    const onFailure = merge ? { failParentOnFailure: true } : { ignoreDependencyOnFailure: true }
    const flow: FlowJob = {
      name: this.#last.phase,
      queueName,
      data: this.#last,
      opts: { ...jobOptions, jobId: this.#last.id },
      children: [...this.#open.values()].map(job => ({
        name: job.phase,
        queueName,
        data: job,
        opts: { ...jobOptions, ...onFailure, jobId: job.id }
      }))
    }
    const producer = new bullmq.FlowProducer({ connection: redis, prefix })
    producer.on('error', () => {})
    await producer.add(flow)
    await producer.close()
  }

  /** Looks what became of jobs whose events were lost; what Redis does not know any more is added again. */
  async #look(): Promise<void> {
    const { redis, queue } = this.#connection
    await announceRun(redis, this.#run)
    if ((await queue.getWorkersCount()) === 0) {
      this.#note(
        'no worker: start "evenkeel corpus work" with the same --redis, as many as you like, where the files are'
      )
    } else this.#lastNote = undefined
    let lost = false
    for (const [job, state] of await this.#states([...this.#open.values(), this.#last])) {
      if (state === 'failed') {
        const queued = await queue.getJob(job.id)
        this.#failedJob(job.id, queued?.failedReason ?? 'failed')
      } else if (state === 'unknown') {
        const manifest = 'input' in job ? await findDone(job, 'quick') : undefined
        if (!manifest) lost ||= 'input' in job ? this.#open.has(job.id) : !this.#ended
        else {
          const { rows, seconds, worker, inputs } = manifest
          this.#completed(job.id, { rows, bytes: inputs.input.bytes, seconds, worker, kept: false })
        }
      }
    }
    if (lost && !this.#isOver()) await this.#add()
  }

  #note(text: string): void {
    if (text !== this.#lastNote) this.#listener.note(text)
    this.#lastNote = text
  }

  /** Takes back what has not begun. */
  async #withdraw(): Promise<void> {
    const { queue } = this.#connection
    const remove = (id: string) => queue.remove(id, { removeChildren: false }).catch(() => {})
    await Promise.all([...this.#open.keys(), this.#last.id].map(remove))
  }
}
