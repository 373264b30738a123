// How far the work is: a bar on a terminal, a line every few seconds elsewhere.
import { printable } from '../backend/printable.js'

export interface Progress {
  update(done: number): void
  stop(): void
}

export interface ProgressOptions {
  /** What lines begin with. */
  readonly name?: string
  /** Shows nothing. */
  readonly quiet?: boolean
  /** Milliseconds between two lines. */
  readonly every?: number
}

/** The progress of so many units: on a terminal a bar once the work has taken a second. */
export async function progressBar(
  total: number,
  { name = 'evenkeel', quiet = false, every = 5000 }: ProgressOptions = {}
): Promise<Progress> {
  if (quiet) return { update() {}, stop() {} }
  return process.stderr.isTTY ? bar(total) : lines(total, name, every)
}

async function bar(total: number): Promise<Progress> {
  const { default: progress } = await import('cli-progress')
  const bar = new progress.SingleBar({ format: '{bar} {percentage} % | {eta_formatted} left', stream: process.stderr })
  const start = performance.now()
  let shown = false
  return {
    update(done) {
      if (!shown && performance.now() - start < 1000) return
      if (!shown) bar.start(total, done)
      shown = true
      bar.update(done)
    },
    stop() {
      if (shown) bar.stop()
    }
  }
}

function lines(total: number, name: string, every: number): Progress {
  const start = performance.now()
  let last = start
  return {
    update(done) {
      const now = performance.now()
      if (now - last < every || done === 0 || done >= total) return
      last = now
      const left = Math.ceil(((now - start) / done) * (total - done) * 1e-3)
      console.error(`${printable(name)}: ${Math.floor((100 * done) / total)} %, ${left} s left`)
    },
    stop() {}
  }
}
