// What a command of the CLI is, and how it says that it was called in a wrong way.
import { printable } from '../backend/printable.js'
import { aliasOf, nearest } from '../call/advice.js'

/** Wrong usage: the message goes to standard error, the exit code is 2. */
export class UsageError extends Error {}

export interface Command {
  /** What `--help` prints. */
  readonly help: string
  /** What it prints with these arguments, where that is something else. */
  helpFor?(args: readonly string[]): string | undefined
  /** What stands before `--help` for that. */
  topicOf?(args: readonly string[]): string | undefined
  /** Runs with the arguments after the command's name; returns the exit code. */
  run(args: readonly string[]): Promise<number>
}

/** What stands behind an option that there is not, where there are these: what it may mean. */
export function optionHint(option: string, options: readonly string[]): string {
  const own = aliasOf(option, options)
  if (own !== undefined) return `; here it is called --${own}`
  const near = nearest(option, options)
  return near === undefined ? '' : ` (nearest: --${near})`
}

/** One of these words was expected, and another given, or nothing. */
export function wrongWord(what: string, words: readonly string[], given: string | undefined): UsageError {
  const near = given === undefined ? undefined : nearest(given, words)
  const got = given === undefined ? 'nothing' : JSON.stringify(given)
  return new UsageError(
    `${what} expected ${words.join(', ')}${near === undefined ? '' : ` (nearest: ${near})`}, got ${got}`
  )
}

const warned = new Set<string>()

/** A line on standard error about something that is no failure. Once: files are looked at twice. */
export function warn(message: string): void {
  if (warned.has(message)) return
  warned.add(message)
  console.error(`evenkeel: warning: ${printable(message)}`)
}

/** Runs a parser of arguments; what it throws is wrong usage, told in our words. `options` are the names that it knows. */
export function parsed<Result>(parse: () => Result, options: readonly string[] = []): Result {
  try {
    return parse()
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    throw new UsageError(wordsOf(code, message, options) ?? message.replaceAll('\n', ' '))
  }
}

/** What Node.js's parser of arguments means. */
function wordsOf(code: string | undefined, message: string, options: readonly string[]): string | undefined {
  const [found] = [...message.matchAll(/'(?:-\w, )?(--?[^\s']+)(?: <value>)?'/g)].map(match => match[1])
  const option = found === '-o' ? '--output' : found
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' && option) {
    if (/^--in(put)?$/.test(option) && options.includes('output') && !options.includes('in')) {
      return `there is no option ${option}; inputs stand without one`
    }
    return `there is no option ${option}${optionHint(option.replace(/^-+/, ''), options)}`
  }
  if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE' && option) {
    if (message.includes('does not take')) return `${option} expected no value, got one`
    if (message.includes('ambiguous')) return `${option} expected a value, got an option; ${option}=VALUE takes any`
    return `${option} expected a value, got nothing`
  }
  if (code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL') {
    const word = /'([^']*)'/.exec(message)?.[1] ?? ''
    return `arguments expected options alone, got ${JSON.stringify(word)}`
  }
  return undefined
}
