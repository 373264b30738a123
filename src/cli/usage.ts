// What a command of the CLI is, and how it says that it was called in a wrong way.

/** Wrong usage: the message goes to standard error, the exit code is 2. */
export class UsageError extends Error {}

export interface Command {
  /** What `--help` prints. */
  readonly help: string
  /** Runs with the arguments after the command's name; returns the exit code. */
  run(args: readonly string[]): Promise<number>
}

/**
 * Text of files, of the command line and of the environment as a terminal may show it, on one line: characters that control
 * it are escaped.
 */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}

/** Runs a parser of arguments; what it throws is wrong usage. */
export function parsed<Result>(parse: () => Result): Result {
  try {
    return parse()
  } catch (error) {
    throw new UsageError((error as Error).message.replaceAll('\n', ' '))
  }
}
