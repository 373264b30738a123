// What does the jobs of a corpus.
import type { Done, LastJob, ShardJob } from './job.js'

/** Told of jobs as they go on. */
export interface Listener {
  progress(job: ShardJob, rows: number, bytes: number): void
  done(job: ShardJob, done: Done): void
  failed(job: ShardJob, message: string): void
  /** What a user should know. */
  note(text: string): void
}

export interface Engine {
  /**
   * Does the shards' jobs in any order, then the last one: a merge only where no shard failed. Returns what the last one
   * came to; undefined where it was not done.
   */
  run(shards: readonly ShardJob[], last: LastJob, listener: Listener, signal: AbortSignal): Promise<Done | undefined>
  close(): Promise<void>
}
