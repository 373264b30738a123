// The queue's packages and its Redis: loaded and connected to only where a queue is asked for.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { VERSION } from '../version.js'
import { orAdvice } from './packages.js'

/** Workers of another version give other bits, perhaps: each version has its queue. */
export const queueName = `corpus-${VERSION}`
export const prefix = 'evenkeel'

export interface Connection {
  readonly bullmq: typeof import('bullmq')
  readonly redis: Redis
  readonly queue: Queue
  /** Host, port and database: what may be shown. */
  readonly name: string
  /** What is wrong with the connection, without what nobody may see. */
  describe(error: unknown): string
  close(): Promise<void>
}

const load = () =>
  orAdvice(
    async () => ({ bullmq: await import('bullmq'), Redis: (await import('ioredis')).Redis }),
    'a queue needs two packages beside evenkeel: npm install bullmq ioredis'
  )

/** Connects once; later, when the connection is lost, again and again. */
export async function connect(url: string): Promise<Connection> {
  const parsed = parse(url)
  const { bullmq, Redis } = await load()
  const secrets = [url, parsed.password, decoded(parsed.password)].filter(secret => secret !== '')
  const describe = (error: unknown) =>
    secrets.reduce((text, secret) => text.replaceAll(secret, '***'), (error as Error).message || String(error))
  const redis = new Redis(url, {
    maxRetriesPerRequest: null, // what BullMQ asks for: commands wait for the connection
    lazyConnect: true,
    retryStrategy: times => Math.min(times * 100, 1000)
  })
  const name = `${parsed.hostname}:${parsed.port || 6379}${parsed.pathname.replace(/^\/$/, '')}`
  let last: unknown
  redis.on('error', error => {
    last = error
  })
  try {
    await redis.connect()
  } catch (error) {
    redis.disconnect()
    throw new Error(`Redis at ${name}: ${describe(last ?? error)}`)
  }
  const queue = new bullmq.Queue(queueName, { connection: redis, prefix })
  queue.on('error', () => {}) // the connection's, which tries again
  const close = async () => {
    // BullMQ's own connections to a Redis that is gone try again for ever: they would keep the process.
    if (redis.status !== 'ready') setTimeout(() => process.exit(), 1000).unref()
    await withinTime(queue.close())
    redis.disconnect()
  }
  return { bullmq, redis, queue, name, describe, close }
}

/** Waits for what needs Redis, but not for ever: it may be gone. */
export const withinTime = (work: Promise<unknown>, milliseconds = 2000) =>
  Promise.race([work.catch(() => {}), sleep(milliseconds, undefined, { ref: false })])

function parse(url: string): URL {
  try {
    const parsed = new URL(url)
    if (['redis:', 'rediss:'].includes(parsed.protocol) && parsed.hostname !== '') return parsed
  } catch {
    // Not shown: there may be a password in it.
  }
  throw new Error('--redis expected redis://[user:password@]host:port[/db] or rediss://..., got something else')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Runs that have not ended, by the time at which they are taken for dead. */
const runsKey = `${prefix}:${queueName}:runs`

/** Milliseconds after which a run that says nothing is taken for dead. */
const silence = 15_000

async function now(redis: Redis): Promise<number> {
  const [seconds] = (await redis.time()) as unknown as [string | number]
  return Number(seconds) * 1000
}

/** Says that a run goes on. */
export async function announceRun(redis: Redis, run: string): Promise<void> {
  await redis.zadd(runsKey, (await now(redis)) + silence, run)
}

export async function endRun(redis: Redis, run: string): Promise<void> {
  await redis.zrem(runsKey, run)
}

export async function countRuns(redis: Redis): Promise<number> {
  await redis.zremrangebyscore(runsKey, 0, await now(redis))
  return redis.zcard(runsKey)
}

/** Jobs that are not finished, by their state. */
export async function countOpen(queue: Queue): Promise<{ [state: string]: number }> {
  return queue.getJobCounts('waiting', 'prioritized', 'delayed', 'active', 'waiting-children')
}
