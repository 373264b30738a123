// Runs programs of this package in processes of their own.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Whether tests that take long and say little more than others run: in .ci/run, not in `npm cit`. */
export const long = process.env.EVENKEEL_LONG === '1'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Without Node.js's warnings, among them that there is no native binary. */
const quiet = { NODE_NO_WARNINGS: '1' }

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
    env: { ...clean, ...quiet, ...env },
    encoding: 'utf8'
  })
  return { code: status, stdout, stderr }
}

/** A program given as text, as an ES module in the package's root. */
export const run = (code: string, env?: { [name: string]: string }) => node(['--input-type=module', '-e', code], env)

/** The command line. */
export const evenkeel = (args: readonly string[], env?: { [name: string]: string }) =>
  node(['dist/esm/cli/index.js', ...args], env)

/** The command line several times, in one process: to start one takes longer than most of what it does. */
export function evenkeelEach(lines: readonly (readonly string[])[], env?: { [name: string]: string }): Outcome[] {
  const program = `
    const { stdout, stderr } = process
    const write = stdout.write.bind(stdout)
    const outcomes = []
    for (const [i, args] of ${JSON.stringify(lines)}.entries()) {
      const outcome = { code: 0, stdout: '', stderr: '' }
      stdout.write = text => (outcome.stdout += text) !== undefined
      stderr.write = text => (outcome.stderr += text) !== undefined
      process.argv = [process.execPath, 'evenkeel', ...args]
      process.exitCode = 0
      await import('./dist/esm/cli/index.js?' + i)
      outcomes.push({ ...outcome, code: process.exitCode })
    }
    process.exitCode = 0
    write(JSON.stringify(outcomes))`
  return JSON.parse(run(program, env).stdout)
}

/** A line for the shell, in the package's root; "| evenkeel" in it pipes into the command line. */
export function shell(line: string): Outcome {
  const command = line.replace('| evenkeel ', `| "${process.execPath}" dist/esm/cli/index.js `)
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...quiet }
  })
  return { code: status, stdout, stderr }
}
