// evenkeel corpus status: what the queue knows.
import { printable } from '../backend/printable.js'
import type { Job } from './job.js'
import { connect, countOpen, countRuns } from './redis.js'

/** Prints it; returns the exit code. */
export async function status(url: string, json: boolean): Promise<number> {
  const connection = await connect(url)
  const { queue, redis, name } = connection
  try {
    const open = await countOpen(queue)
    const runs = await countRuns(redis)
    const workers = (await queue.getWorkers()).map(worker => worker.rawname?.split(':w:')[1] ?? worker.name ?? '')
    const active = (await queue.getActive()).map(({ data, progress }) => ({
      job: nameOf(data),
      ...(progress as object)
    }))
    const failed = (await queue.getFailed()).map(({ data, failedReason }) => ({
      job: nameOf(data),
      message: failedReason
    }))
    if (json) {
      console.log(JSON.stringify({ redis: name, runs, workers, jobs: open, active, failed }))
      return 0
    }
    const counts = Object.entries(open).map(([state, count]) => `${state} ${count}`)
    console.log(`Redis ${name}: runs ${runs}, workers ${workers.length}`)
    console.log(`jobs: ${counts.join(', ')}, failed ${failed.length}`)
    const print = (line: string) => console.log(printable(line))
    for (const worker of workers) print(`worker ${worker}`)
    for (const { job, ...progress } of active) {
      const { rows } = progress as { rows?: number }
      print(`active ${job}${rows === undefined ? '' : `: ${rows} rows`}`)
    }
    for (const { job, message } of failed) print(`failed ${job}: ${message}`)
    return 0
  } finally {
    await connection.close()
  }
}

const nameOf = (job: Job) => ('input' in job ? `${job.phase} ${job.input}` : job.phase)
