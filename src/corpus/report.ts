// What a run says: a bar on a terminal, else a line every few seconds; with --json an event a line.
import { stat } from 'node:fs/promises'
import { printable } from '../backend/printable.js'
import { warn } from '../cli/usage.js'
import type { Listener } from './engine.js'
import type { Done, ShardJob } from './job.js'

/** Milliseconds between lines, and between events of progress. */
const interval = 5000

export interface PhaseListener extends Listener {
  readonly failures: number
  stop(): void
}

/** Where progress over all shards stands. */
interface Progress {
  readonly shards: number
  readonly shardsDone: number
  readonly bytes: number
  readonly bytesDone: number
  readonly rows: number
  /** Since the phase began. */
  readonly seconds: number
}

interface Display {
  update(progress: Progress): void
  /** A line beside it. */
  line(text: string): void
  stop(): void
}

const size = (bytes: number) =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${bytes} bytes`
const rate = ({ bytesDone, seconds }: Pick<Progress, 'bytesDone' | 'seconds'>) =>
  `${(bytesDone / 1e9 / Math.max(seconds, 1e-3)).toFixed(2)} GB/s`

function timeLeft({ bytes, bytesDone, seconds }: Progress): string {
  if (bytesDone === 0) return 'time left unknown'
  const left = Math.ceil((seconds * (bytes - bytesDone)) / bytesDone)
  return left < 100
    ? `${left} s left`
    : left < 6000
      ? `${Math.ceil(left / 60)} min left`
      : `${Math.ceil(left / 3600)} h left`
}

const lineOf = (progress: Progress) =>
  `${progress.shardsDone} of ${progress.shards} shards, ${size(progress.bytesDone)} of ${size(progress.bytes)}, ` +
  `${progress.rows} rows, ${rate(progress)}, ${timeLeft(progress)}`

function lines(): Display {
  let last = performance.now()
  return {
    update(progress) {
      if (performance.now() - last < interval) return
      last = performance.now()
      console.error(lineOf(progress))
    },
    line: text => console.error(text),
    stop() {}
  }
}

async function bar(): Promise<Display> {
  const { default: library } = await import('cli-progress')
  const shown = new library.MultiBar({
    format: '{bar} {percentage} % | {line}',
    clearOnComplete: true,
    gracefulExit: false
  })
  const one = shown.create(1, 0, { line: '' })
  return {
    update(progress) {
      one.setTotal(Math.max(1, progress.bytes))
      one.update(progress.bytesDone, { line: lineOf(progress) })
    },
    line: text => shown.log(`${text}\n`),
    stop: () => shown.stop()
  }
}

/** Of a whole run. */
export class Reporter {
  readonly #json: boolean
  readonly #failed: { readonly input: string; readonly message: string }[] = []

  constructor(json: boolean) {
    this.#json = json
  }

  event(event: string, values: object): void {
    if (this.#json) console.log(JSON.stringify({ event, ...values }))
  }

  /** Something that is no failure. */
  warn(text: string): void {
    this.event('warning', { text })
    warn(text)
  }

  /** Told of the jobs of a phase that are to be done; the others are. */
  async phase(phase: string, jobs: readonly ShardJob[], pending: readonly ShardJob[]): Promise<PhaseListener> {
    const sizes = await Promise.all(
      pending.map(async ({ input }) => (await stat(input).catch(() => undefined))?.size ?? 0)
    )
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0)
    const kept = jobs.length - pending.length
    this.event('phase', { phase, shards: jobs.length, kept, bytes: total })
    const display = this.#json ? undefined : process.stderr.isTTY ? await bar() : lines()
    const start = performance.now()
    const running = new Map<string, { rows: number; bytes: number }>()
    const state = { done: 0, kept, failures: 0, bytes: 0, rows: 0, worked: 0, newRows: 0, newBytes: 0 }
    let lastEvent = start
    const progress = (): Progress => {
      const sum = { rows: state.rows, bytes: state.bytes }
      for (const { rows, bytes } of running.values()) {
        sum.rows += rows
        sum.bytes += bytes
      }
      const seconds = (performance.now() - start) / 1000
      const shards = { shards: pending.length, shardsDone: state.done + state.failures + state.kept - kept }
      return { ...shards, bytes: total, bytesDone: Math.min(total, sum.bytes), rows: sum.rows, seconds }
    }
    const update = () => {
      display?.update(progress())
      if (!this.#json || performance.now() - lastEvent < interval / 5) return
      lastEvent = performance.now()
      this.event('progress', { phase, ...progress() })
    }
    return {
      get failures() {
        return state.failures
      },
      progress: (job, rows, bytes) => {
        running.set(job.id, { rows, bytes })
        update()
      },
      done: (job, done) => {
        running.delete(job.id)
        if (done.kept) state.kept++
        else {
          state.done++
          state.newRows += done.rows
          state.newBytes += done.bytes
        }
        state.bytes += done.bytes
        state.rows += done.rows
        state.worked += done.seconds
        this.event('shard', { phase, input: job.input, ...done })
        update()
      },
      failed: (job, message) => {
        running.delete(job.id)
        state.failures++
        this.#failed.push({ input: job.input, message })
        this.event('failed', { phase, input: job.input, message })
        update()
      },
      note: text => {
        this.event('note', { text })
        display?.line(`evenkeel: ${printable(text)}`)
      },
      stop: () => {
        display?.stop()
        this.event('phase-end', { phase, ...progress(), worked: state.worked, failed: state.failures })
        if (!this.#json) console.log(summaryOf(phase, jobs.length, state, progress().seconds))
      }
    }
  }

  /** At the very end: the shards that are broken. */
  end(complete: boolean): void {
    this.event('end', { complete, failed: this.#failed })
    for (const { input, message } of this.#failed) {
      console.error(`evenkeel: ${printable(message.startsWith(input) ? message : `${input}: ${message}`)}`)
    }
  }
}

/** What came of the shards of a phase; rows and bytes are those of the ones that this run did. */
interface Summed {
  readonly done: number
  readonly kept: number
  readonly failures: number
  /** Seconds of all jobs. */
  readonly worked: number
  readonly newRows: number
  readonly newBytes: number
}

function summaryOf(
  phase: string,
  shards: number,
  { done, kept, failures, worked, newRows: rows, newBytes: bytesDone }: Summed,
  seconds: number
): string {
  const speed = rate({ bytesDone, seconds })
  const parts = [`${done + kept} of ${shards} shards done`]
  if (kept > 0) parts.push(`${kept} of them before`)
  if (failures > 0) parts.push(`${failures} failed`)
  const took = `${rows} rows, ${size(bytesDone)} in ${seconds.toFixed(1)} s (${speed}; ${worked.toFixed(1)} s of work)`
  return `${phase}: ${parts.join(', ')}${done > 0 ? `: ${took}` : ''}`
}

/** What one job of a worker came to, in a line. */
export const jobLine = (name: string, done: Done) =>
  `${name}: ${done.kept ? 'as before' : `${done.rows} rows, ${size(done.bytes)} in ${done.seconds.toFixed(1)} s`}`
