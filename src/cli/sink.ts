// What is written to: a file, or standard output.
import { UsageError } from './usage.js'

/** Where bytes go: a file, or what stands for one. */
export interface Sink {
  write(from: Uint8Array, offset: number, length: number): Promise<{ readonly bytesWritten: number }>
}

/** An output of "-", and other names of the same. */
export const isStandardOutput = (path: string) => /^(-|\/dev\/stdout|\/dev\/fd\/1|\/proc\/self\/fd\/1)$/.test(path)

/** Throws where standard output shows bytes on a screen. */
export function checkStandardOutput(): void {
  if (process.stdout.isTTY) throw new UsageError('output expected a file or a pipe, got a terminal (-)')
}

/** Standard output. What reads it may take its time, and may end before all is written. */
export function standardOutput(): Sink {
  const { stdout } = process
  let failure: Error | undefined
  stdout.on('error', error => {
    failure = error
  })
  return {
    async write(from, offset, length) {
      await new Promise<void>((resolve, reject) => {
        if (failure) return reject(failure)
        stdout.write(from.subarray(offset, offset + length), error => (error ? reject(error) : resolve()))
      }).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'EPIPE') throw new Error('standard output was closed before all was written')
        throw error
      })
      return { bytesWritten: length }
    }
  }
}
