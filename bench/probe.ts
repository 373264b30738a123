// How long the event loop of this process stands still: a thread sends the time, every millisecond, and how much later the
// loop takes it is the pause. (A timer of 1 ms in the loop itself is right to a millisecond only: libuv counts in whole ones.)
import { Worker } from 'node:worker_threads'

export const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b)
export const median = (values: readonly number[]) => sorted(values)[values.length >> 1]
export const wait = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

export class Probe {
  #pauses: number[] = []
  readonly #thread = new Worker(
    `const { parentPort } = require('node:worker_threads')
    const never = new Int32Array(new SharedArrayBuffer(4))
    for (;;) {
      Atomics.wait(never, 0, 0, 1)
      parentPort.postMessage(process.hrtime.bigint())
    }`,
    { eval: true }
  )

  constructor() {
    this.#thread.on('message', (sent: bigint) => this.#pauses.push(Number(process.hrtime.bigint() - sent) / 1e6))
  }

  /** The pauses while work goes on, in milliseconds. */
  async during(work: () => Promise<unknown>): Promise<number[]> {
    await wait(20)
    this.#pauses = []
    await work()
    await wait(2) // what was in the way of the last ones
    return this.#pauses
  }

  end = () => this.#thread.terminate()
}
