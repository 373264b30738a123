// Commands of the command line that fail, in this process.
import { readdirSync } from 'node:fs'
import { expect } from 'vitest'
import { type Command, UsageError } from '../../dist/esm/cli/usage.js'

/** The message with which a command fails: of wrong usage or not, and with nothing written to the folder. */
export const failureIn = (folder: string) => async (command: Command, args: string[], usage: boolean) => {
  const before = readdirSync(folder, { recursive: true })
  const error = (await command.run(args).catch(error => error)) as Error
  expect(error instanceof UsageError, error.message).toBe(usage)
  expect(readdirSync(folder, { recursive: true })).toEqual(before)
  return error.message
}
