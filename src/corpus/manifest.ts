// The manifest of a shard: what its files were made of, so that a later run does only what is missing or changed.
import { readFile } from 'node:fs/promises'
import { type Facts, isUnchanged } from './digest.js'
import { besideOptions, fileOptionsOf } from './inputs.js'
import { placesOf, type ShardJob } from './job.js'

export interface Manifest {
  /** The version. */
  readonly evenkeel: string
  readonly op: string
  readonly options: ShardJob['given']
  /** sha256 of the merged statistics that were used. */
  readonly statistics?: string
  /** The shard and the files that options name. */
  readonly inputs: { readonly [name: string]: Facts }
  readonly outputs: { readonly [name: string]: Facts }
  readonly rows: number
  readonly seconds: number
  readonly worker: string
  /** Of phase one: toBytes() of the shard's statistics, base64. */
  readonly result?: string
}

/** Where the manifest of a job lies. */
export const manifestPath = ({ phase, folder, input, given }: ShardJob) =>
  placesOf(folder, input, given)[phase === 'output' ? 'manifest' : 'statistics']

/** Files that the job reads, by name. */
export const inputsOf = ({ input, given, op }: ShardJob): { [name: string]: string } => ({
  input,
  ...fileOptionsOf(op, given)
})

/** Files that the job writes, by name. */
export function outputsOf({ phase, folder, input, given }: ShardJob): { [name: string]: string } {
  if (phase === 'statistics') return {}
  const beside = besideOptions.filter(name => given[name] !== undefined).map(name => [name, given[name] as string])
  return { output: placesOf(folder, input, given).output, ...Object.fromEntries(beside) }
}

/** What is said of the work itself, in one text. */
const textOf = ({
  evenkeel,
  op,
  options,
  statistics
}: Omit<Manifest, 'inputs' | 'outputs' | 'rows' | 'seconds' | 'worker'>) =>
  JSON.stringify([evenkeel, op, Object.entries(options).sort(), statistics ?? null])

export const describeWork = ({ version, op, given, statistics }: ShardJob) => ({
  evenkeel: version,
  op,
  options: given,
  ...(statistics === undefined ? {} : { statistics })
})

/** The manifest of a job, where there is one of that very work. */
export async function readManifest(job: ShardJob): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(await readFile(manifestPath(job), 'utf8')) as Manifest
    return textOf(manifest) === textOf(describeWork(job)) ? manifest : undefined
  } catch {
    return undefined
  }
}

/** The manifest of a job that is done, with the facts of its files as they are now. */
export async function findDone(job: ShardJob, how: 'quick' | 'digest' | 'verify'): Promise<Manifest | undefined> {
  const manifest = await readManifest(job)
  if (!manifest) return undefined
  const [inputs, outputs] = [
    await unchanged(manifest.inputs, inputsOf(job), how),
    await unchanged(manifest.outputs, outputsOf(job), how)
  ]
  return inputs && outputs && { ...manifest, inputs, outputs }
}

async function unchanged(
  facts: { readonly [name: string]: Facts },
  paths: { readonly [name: string]: string },
  how: 'quick' | 'digest' | 'verify'
): Promise<Manifest['inputs'] | undefined> {
  if (
    Object.keys(facts ?? {})
      .sort()
      .join() !== Object.keys(paths).sort().join()
  )
    return undefined
  const now: { [name: string]: Facts } = {}
  for (const [name, path] of Object.entries(paths)) {
    const same = await isUnchanged(facts[name], path, how)
    if (!same) return undefined
    now[name] = same
  }
  return now
}
