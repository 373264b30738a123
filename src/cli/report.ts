// The line about work that is done: rows, seconds, GB/s, backend; or the same as JSON.
import { printable } from '../backend/printable.js'
import { backend, getNumThreads } from '../index.js'
import { isStandardOutput } from './sink.js'

/** What was done with a file. */
export interface Work {
  /** Rows of the input: all its dimensions but the last. */
  readonly rows: number
  /** Bytes of elements that were read and written. */
  readonly bytes: number
}

export interface ReportOptions {
  readonly quiet: boolean
  readonly json: boolean
  /** Whether results go to standard output: then the line goes to standard error. */
  readonly toStandardOutput: boolean
}

/** Prints what was done, unless that is not wanted. */
export function report(
  what: string,
  input: string,
  output: string,
  { rows, bytes }: Work,
  milliseconds: number,
  { quiet, json, toStandardOutput }: ReportOptions
): void {
  if (quiet) return
  const seconds = milliseconds / 1000
  const gigabytesPerSecond = bytes / 1e9 / seconds
  const print = toStandardOutput ? console.error : console.log
  if (json) {
    const work = { rows, bytes, seconds, gigabytesPerSecond, backend, threads: getNumThreads() }
    print(JSON.stringify({ command: what, input, output, ...work }))
    return
  }
  const rate = `${seconds.toFixed(2)} s, ${gigabytesPerSecond.toFixed(2)} GB/s`
  const place = isStandardOutput(output) ? 'standard output' : output
  print(printable(`${place}: ${rows} ${rows === 1 ? 'row' : 'rows'}, ${rate}, ${backend}`))
}
