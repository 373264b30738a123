// Each implementation runs in a process of its own, so that neither its garbage nor what the JIT compiler learnt from
// it meets the others. Commands and answers are lines of JSON, arrays are files of float32.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { time, warm } from './measure.js'

/** An implementation ready to run: `run` computes, `result` is what it computed last. */
export interface Ready {
  readonly run: () => Promise<void> | void
  /** Called before it runs some times: sets how many threads it may use, say. */
  readonly prepare?: () => void
  readonly result: () => Float32Array
  /** False where it leaves out weight and bias, so that its error is measured against the right thing. */
  readonly affine?: boolean
  /** Whether it leaves much garbage, which is to be gone before it is timed again. */
  readonly litters?: boolean
  /** The running statistics that training gave last, the mean and behind it the variance. */
  readonly statistics?: () => Float32Array
  /** Gives back memory that no garbage collector sees. */
  readonly release?: () => void
}

/** One way in which a contender does a problem. */
export interface Candidate {
  readonly name: string
  readonly affine: boolean
  readonly statistics: boolean
}

/** What answers begin with; other lines are the libraries' own. */
const MARK = '@'

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength)

function load(path: string): Float32Array {
  const bytes = readFileSync(path)
  const data = new Float32Array(bytes.length / 4)
  bytes.copy(bytesOf(data))
  return data
}

/** A problem as text, with its Float32Arrays as files in a folder. */
export function textOf(problem: object, folder: string): string {
  return JSON.stringify(problem, (name, value) => {
    if (!(value instanceof Float32Array)) return value
    const path = join(folder, name)
    writeFileSync(path, bytesOf(value))
    return { float32: path }
  })
}

const problemOf = (text: string) => JSON.parse(text, (_, value) => (value?.float32 ? load(value.float32) : value))

/** The contender's side: does what the lines of standard input say, until there are no more. */
export async function serve<Problem>(
  make: (problem: Problem) => Promise<Map<string, Ready>>,
  about: string
): Promise<void> {
  setFlagsFromString('--expose-gc')
  const collectGarbage: () => void = runInNewContext('gc')
  const problems = new Map<string, Map<string, Ready>>()
  function find(key: string, name: string): Ready {
    const ready = problems.get(key)?.get(name)
    if (!ready) throw new Error(`no ${name} for ${key}`)
    ready.prepare?.()
    return ready
  }

  const commands: { readonly [name: string]: (key: string, name: string, value: never) => unknown } = {
    async make(key, text): Promise<Candidate[]> {
      const all = await make(problemOf(text))
      problems.set(key, all)
      return [...all].map(([name, { affine = true, statistics }]) => ({ name, affine, statistics: !!statistics }))
    },
    warm: (key, name, milliseconds: number) => warm(find(key, name).run, milliseconds),
    async time(key, name, calls: number) {
      const { run, litters } = find(key, name)
      // What one call leaves in the caches is what the next one finds; where there is one call only, they hold nothing.
      if (calls > 1) await time(run, 1)
      const nanoseconds = await time(run, calls)
      if (litters) collectGarbage()
      return nanoseconds
    },
    async result(key, name, path: string) {
      const ready = find(key, name)
      await ready.run()
      const bytes = bytesOf(ready.result())
      if (path) writeFileSync(path, bytes)
      return createHash('sha1').update(bytes).digest('hex')
    },
    statistics: (key, name, path: string) =>
      writeFileSync(path, bytesOf(find(key, name).statistics?.() as Float32Array)),
    drop(key) {
      for (const { release } of problems.get(key)?.values() ?? []) release?.()
      problems.delete(key)
      collectGarbage()
    }
  }

  const answer = (value: object) => process.stdout.write(`${MARK}${JSON.stringify(value)}\n`)
  answer({ value: about })
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, key, name, value] = JSON.parse(line)
    try {
      answer({ value: await commands[command](key, name, value as never) })
    } catch (error) {
      answer({ error: (error as Error).message })
    }
  }
}

/** This side of a contender. */
export class Contender {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #waiting: { resolve: (value: never) => void; reject: (error: Error) => void }[] = []
  /** Why it answers no more. */
  #ended: Error | undefined
  /** What it says of itself, most of all its version. */
  about = ''

  private constructor(
    readonly name: string,
    child: ChildProcessWithoutNullStreams
  ) {
    this.#process = child
    let said = ''
    const fail = (error: Error) => {
      this.#ended = error
      for (const { reject } of this.#waiting.splice(0)) reject(error)
    }
    child.on('error', fail)
    child.on('close', code => {
      const lines = said.trim().split('\n')
      fail(new Error(`${name} ended with ${code}: ${lines.find(line => /^\w*Error/.test(line)) ?? lines.pop()}`))
    })
    child.stdin.on('error', () => {}) // told by its end
    child.stderr.on('data', text => {
      said = `${said}${text}`.slice(-2000)
    })
    createInterface({ input: child.stdout }).on('line', line => {
      if (!line.startsWith(MARK)) return
      const { value, error } = JSON.parse(line.slice(MARK.length))
      const next = this.#waiting.shift()
      if (error === undefined) next?.resolve(value as never)
      else next?.reject(new Error(`${name}: ${error}`))
    })
  }

  /** Starts one; rejects where it cannot run here. */
  static async start(
    name: string,
    command: string,
    args: readonly string[],
    env: { readonly [name: string]: string } = {}
  ): Promise<Contender> {
    const one = new Contender(name, spawn(command, args, { env: { ...process.env, ...env } }))
    one.about = await one.#answer<string>()
    return one
  }

  #answer<Value>(): Promise<Value> {
    if (this.#ended) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  #ask<Value>(...words: readonly unknown[]): Promise<Value> {
    const answer = this.#answer<Value>()
    this.#process.stdin.write(`${JSON.stringify(words)}\n`)
    return answer
  }

  /** Takes a problem under a key; tells the ways in which it can do it, none where it cannot. */
  make = (key: string, text: string) => this.#ask<Candidate[]>('make', key, text)
  /** Nanoseconds of the quickest run while it warms up for so many milliseconds. */
  warm = (key: string, name: string, milliseconds: number) => this.#ask<number>('warm', key, name, milliseconds)
  /** Nanoseconds of a call, the mean of so many. */
  time = (key: string, name: string, calls: number) => this.#ask<number>('time', key, name, calls)
  /** Runs once; a hash of the result's bits. */
  digest = (key: string, name: string) => this.#ask<string>('result', key, name, '')
  drop = (key: string) => this.#ask<void>('drop', key)

  /** Runs once; its result, which goes through a file in a folder. */
  async result(key: string, name: string, folder: string): Promise<Float32Array> {
    const path = join(folder, 'result')
    await this.#ask('result', key, name, path)
    return load(path)
  }

  /** The running statistics of the last run. */
  async statistics(key: string, name: string, folder: string): Promise<Float32Array> {
    const path = join(folder, 'statistics')
    await this.#ask('statistics', key, name, path)
    return load(path)
  }

  end(): void {
    this.#process.stdin.end()
  }
}
