// The threads of this process that do jobs.
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { getNumThreads, setNumThreads } from '../index.js'
import { type Done, type Job, Stopped } from './job.js'
import type { Order, Report } from './thread.js'

/** What went wrong with a job. */
export class JobError extends Error {
  /** Whether it may go well another time: the system refused something. */
  readonly transient: boolean

  constructor(message: string, transient: boolean) {
    super(message)
    this.transient = transient
  }
}

/** So many jobs at once share the cores; kernels divide what is left over. */
export function shareCores(jobs: number): void {
  if (process.env.EVENKEEL_THREADS !== undefined) return
  setNumThreads(Math.max(1, Math.min(getNumThreads(), Math.floor(availableParallelism() / jobs))))
}

/** A thread, and who waits for what it reports. */
interface Thread {
  readonly worker: Worker
  report: (report: Report) => void
  ended: boolean
}

/** The process has given its warnings. */
const execArgv = [...process.execArgv, '--no-warnings']

/** Threads without a job: they wait for the next one, and do not keep the process. */
const idle: Thread[] = []

/** Does a job in a thread of its own; throws {@link Stopped} after `signal`, and what went wrong as {@link JobError}. */
export async function runInThread(
  job: Job,
  progress: (rows: number, bytes: number) => void,
  signal?: AbortSignal
): Promise<Done> {
  if (signal?.aborted) throw new Stopped('stopped')
  const thread = idle.pop() ?? startThread()
  const send = (order: Order) => thread.worker.postMessage(order)
  const stop = () => send({ stop: true })
  signal?.addEventListener('abort', stop)
  thread.worker.ref()
  const report = await new Promise<Exclude<Report, { kind: 'progress' }>>(resolve => {
    thread.report = report => {
      if (report.kind === 'progress') progress(report.rows, report.bytes)
      else resolve(report)
    }
    send({ job })
  })
  signal?.removeEventListener('abort', stop)
  if (!thread.ended) {
    thread.worker.unref()
    idle.push(thread)
  }
  if (report.kind === 'done') return report.done
  throw report.stopped ? new Stopped(report.message) : new JobError(report.message, report.transient)
}

function startThread(): Thread {
  const worker = new Worker(new URL('./thread.js', import.meta.url), { execArgv })
  const thread: Thread = { worker, report: () => {}, ended: false }
  worker.on('message', (report: Report) => thread.report(report))
  const ended = (message: string) => {
    thread.ended = true
    if (idle.includes(thread)) idle.splice(idle.indexOf(thread), 1)
    thread.report({ kind: 'failed', message, stopped: false, transient: true })
  }
  worker.on('error', error => ended(`its thread ended: ${error.message}`))
  worker.on('exit', () => ended('its thread ended'))
  return thread
}
