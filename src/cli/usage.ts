// What a command of the CLI is, and how it says that it was called in a wrong way.

/** Wrong usage: the message goes to standard error, the exit code is 2. */
export class UsageError extends Error {}

export interface Command {
  /** What `--help` prints. */
  readonly help: string
  /** Runs with the arguments after the command's name; returns the exit code. */
  run(args: readonly string[]): Promise<number>
}

/** Runs a parser of arguments; what it throws is wrong usage. */
export function parsed<Result>(parse: () => Result): Result {
  try {
    return parse()
  } catch (error) {
    throw new UsageError((error as Error).message.replaceAll('\n', ' '))
  }
}
