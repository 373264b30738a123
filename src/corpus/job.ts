// A job of a corpus: plain JSON, so that any thread or host that sees the files can do it.
import { createHash } from 'node:crypto'
import { basename, join } from 'node:path'
import type { Given } from '../cli/options.js'
import { resultName } from './formats.js'

/** What every job says. */
interface Common {
  /** The same for the same work: a queue takes it once, however many runs ask for it. */
  readonly id: string
  readonly op: string
  /** Options of the operation and of formats; paths are whole. */
  readonly given: Given
  /** The output folder. */
  readonly folder: string
  /** Of evenkeel: another may give other bits. */
  readonly version: string
}

/** Statistics of a shard (phase one), or its result. */
export interface ShardJob extends Common {
  readonly phase: 'statistics' | 'output'
  readonly input: string
  /** sha256 of the merged statistics that the result is made with. */
  readonly statistics?: string
  /** Whether files are compared by their bytes also where size and time are as they were. */
  readonly verify: boolean
}

/** What comes after the shards: statistics merged, or leftovers swept away. */
export interface LastJob extends Common {
  readonly phase: 'merge' | 'sweep'
  /** The shards in the order of their whole paths. */
  readonly inputs: readonly string[]
}

export type Job = ShardJob | LastJob

/** What a job came to. */
export interface Done {
  readonly rows: number
  /** Bytes of the shard. */
  readonly bytes: number
  readonly seconds: number
  /** Who did it: host and process. */
  readonly worker: string
  /** Whether all was there already. */
  readonly kept: boolean
  /** Of a merge: sha256 of the statistics' file. */
  readonly statistics?: string
}

/** Told while a job is done; throws where it is to stop. */
export type Watch = (rows: number, bytes: number) => void

/** Thrown by {@link Watch}. */
export class Stopped extends Error {}

/** A job with its id. */
export function withId<J extends Omit<Job, 'id'>>(job: J): J & { id: string } {
  const id = createHash('sha256').update(JSON.stringify(job)).digest('hex').slice(0, 32)
  return { ...job, id: `${job.phase}-${id}` }
}

export const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Where a shard's result lies, what says how it was made, and its statistics. */
export const placesOf = (folder: string, input: string, given: Given) => {
  const output = join(folder, resultName(input, given))
  const statistics = join(folder, `${basename(input)}.statistics.json`)
  return { output, manifest: `${output}.manifest.json`, statistics }
}

/** Where the merged statistics lie. */
export const mergedPath = (folder: string) => join(folder, 'statistics.json')
