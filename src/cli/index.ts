#!/usr/bin/env node
// The command line: finds the command, runs it, turns errors into exit codes (2 wrong usage, 1 failure).
import { readFileSync } from 'node:fs'
import { printable } from '../backend/printable.js'
import { type Command, UsageError, wrongWord } from './usage.js'

const commands: { readonly [name: string]: () => Promise<Command> } = {
  info: async () => (await import('./info.js')).info,
  verify: async () => (await import('./verify.js')).verify,
  apply: async () => (await import('./apply.js')).apply,
  embed: async () => (await import('./embed.js')).embed,
  calibrate: async () => (await import('./calibrate.js')).calibrate,
  corpus: async () => (await import('./corpus.js')).corpus,
  build: async () => (await import('./build.js')).build,
  bench: async () => (await import('./bench.js')).bench
}

const help = `Usage: evenkeel <command> [options]

Commands:
  info       what runs on this machine, and why
  verify     compare every backend with the TypeScript one, bit for bit, and with the golden hashes
  apply      normalise a .npy file
  embed      make embeddings of a .npy file of hidden states
  calibrate  find the ranges of embeddings in .npy files, for codes of 8 bits
  corpus     do one of these to many files, by this process or by workers on a queue
  build      compile the native kernels on this machine
  bench      check and time this library beside what else is installed

Options:
  -h, --help      this text; "evenkeel <command> --help" for a command
  -v, --version   the version

EVENKEEL_BACKEND=avx512|avx2|neon|portable|js forces a backend, EVENKEEL_NATIVE_PATH=<file> the native binary,
EVENKEEL_THREADS=<n> the number of threads.
`

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === '-v' || name === '--version') {
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
    console.log(version)
    return 0
  }
  if (name === '-h' || name === '--help') {
    process.stdout.write(help)
    return 0
  }
  if (name === undefined) {
    process.stderr.write(help)
    return 2
  }
  if (!Object.hasOwn(commands, name)) {
    throw wrongWord('command', Object.keys(commands), name)
  }
  const command = await commands[name]()
  if (rest.includes('-h') || rest.includes('--help')) {
    process.stdout.write(command.helpFor?.(rest) ?? command.help)
    return 0
  }
  return command.run(rest)
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const usage = error instanceof UsageError
  console.error(`evenkeel: ${printable((error as Error).message.replace(/^evenkeel: /, ''))}`)
  if (usage) {
    const [name, ...rest] = process.argv.slice(2)
    const command = Object.hasOwn(commands, name) ? await commands[name]() : undefined
    const words = command ? ['evenkeel', name, command.topicOf?.(rest)] : ['evenkeel']
    console.error(`${words.filter(word => word !== undefined).join(' ')} --help tells how it is used`)
  }
  process.exitCode = usage ? 2 : 1
}
