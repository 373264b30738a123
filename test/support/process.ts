// Runs programs of this package in processes of their own.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Node.js with these arguments, in the package's root. */
export function node(args: readonly string[], env: { [name: string]: string } = {}, cwd = root): Outcome {
  // npm's and vitest's own settings stay out of it.
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|VITEST|NODE_OPTIONS)/i.test(name))
  )
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd,
    env: { ...clean, ...env },
    encoding: 'utf8'
  })
  return { code: status, stdout, stderr }
}

/** A program given as text, as an ES module in the package's root. */
export const run = (code: string, env?: { [name: string]: string }) => node(['--input-type=module', '-e', code], env)

/** The command line. */
export const evenkeel = (args: readonly string[], env?: { [name: string]: string }) =>
  node(['dist/esm/cli/index.js', ...args], env)
