// A thread that does jobs, one at a time: the process it belongs to stays free to answer a queue.
import { type MessagePort, parentPort } from 'node:worker_threads'
import { type Done, type Job, Stopped } from './job.js'
import { work } from './work.js'

/** To the thread: a job, or that the present one is to stop. */
export type Order = { readonly job: Job } | { readonly stop: true }

/** From the thread. */
export type Report =
  | { readonly kind: 'progress'; readonly rows: number; readonly bytes: number }
  | { readonly kind: 'done'; readonly done: Done }
  | { readonly kind: 'failed'; readonly message: string; readonly stopped: boolean; readonly transient: boolean }

/** Milliseconds between two reports of progress. */
const interval = 200

const port = parentPort as MessagePort
let stopped = false

async function run(job: Job): Promise<Report> {
  stopped = false
  let last = performance.now()
  try {
    const done = await work(job, (rows, bytes) => {
      if (stopped) throw new Stopped('stopped')
      if (performance.now() - last < interval) return
      last = performance.now()
      port.postMessage({ kind: 'progress', rows, bytes } satisfies Report)
    })
    return { kind: 'done', done }
  } catch (error) {
    const { message, errno } = error as NodeJS.ErrnoException
    // What the system refused may go well another time, or on another host.
    return { kind: 'failed', message, stopped: error instanceof Stopped, transient: errno !== undefined }
  }
}

port.on('message', async (order: Order) => {
  if ('stop' in order) stopped = true
  else port.postMessage(await run(order.job))
})
