// Where the tools are, and how a row of the matrix runs a program as a machine without compilers would.
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const matrix = join(root, 'matrix')
export const scratch = mkdtempSync(join(os.tmpdir(), 'evenkeel-matrix-'))
const tools = join(matrix, 'node_modules')

export const nodes = Object.fromEntries(
  [20, 22, 24, 26].map(major => [major, join(tools, `node${major}`, 'bin', 'node')])
)
export const nodeArm64 = join(tools, 'node-arm64', 'bin', 'node')
export const nodeWindows = join(tools, 'node-win', 'bin', 'node.exe')
export const bun = join(tools, '@oven', 'bun-linux-x64', 'bin', 'bun')
export const deno = join(tools, '@deno', 'linux-x64-glibc', 'deno')
export const npm = major => join(tools, `npm${major}`, 'bin', 'npm-cli.js')
export const pnpm = join(tools, 'pnpm', 'bin', 'pnpm.cjs')

const compiler = folder => join(folder, 'bin', 'tsc')
/** TypeScript: the oldest that the types compile with, the last without Float32Array<ArrayBuffer>, and our own. */
export const compilers = {
  '5.0': compiler(join(tools, 'typescript50')),
  5.6: compiler(join(tools, 'typescript56')),
  '7.0': compiler(join(root, 'node_modules', 'typescript'))
}

/** A row that cannot run on this machine. */
export class Skipped extends Error {}

/** The first of these programs that there is. */
export function find(what, ...names) {
  for (const name of names) {
    if (name.includes('/') && existsSync(name)) return name
    const folder = (process.env.PATH ?? '').split(delimiter).find(one => one !== '' && existsSync(join(one, name)))
    if (folder) return join(folder, name)
  }
  throw new Skipped(`${what} is not installed`)
}

/** A folder of programs that a slim container has: no compiler, no make, no python. */
export function barePath(node) {
  const folder = mkdtempSync(join(scratch, 'bin-'))
  symlinkSync(node, join(folder, 'node'))
  for (const name of ['sh', 'env', 'uname', 'cat', 'sed', 'dirname', 'basename', 'readlink']) {
    symlinkSync(find(name, name), join(folder, name))
  }
  return folder
}

/** The environment without the settings of the `npm run` that this runs under. */
const clean = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(lifecycle|package|command|execpath|node_execpath|config_(local_prefix|prefix|global_prefix|node_gyp|user_agent|noproxy))|INIT_CWD|NODE_OPTIONS|EVENKEEL|VITEST|CI$)/i.test(
        name
      )
  )
)

/** Runs a program and returns what it printed. An exit code other than `code` is an error that tells what it printed; null takes any. */
export function run(command, args, { cwd = scratch, path, env = {}, code = 0, stdin } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    env: { ...clean, ...(path ? { PATH: path } : {}), ...env },
    encoding: 'utf8',
    input: stdin,
    maxBuffer: 2 ** 28,
    timeout: 900_000
  })
  if (result.error) throw result.error
  const output = result.stdout + result.stderr
  if (code !== null && result.status !== code) {
    throw new Error(
      `${command} ${args.join(' ')}: exit code ${result.status}, expected ${code}\n${output.slice(-3000)}`
    )
  }
  return { stdout: result.stdout, stderr: result.stderr, output }
}

/** A new folder with the consumers' programs and this package.json. */
export function consumer(name, manifest = {}) {
  const folder = join(scratch, name)
  mkdirSync(folder)
  cpSync(join(matrix, 'consumer'), folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, ...manifest }))
  return folder
}

export function copyInto(folder, ...files) {
  for (const file of files) copyFileSync(file, join(folder, file.split('/').at(-1)))
}

export function expect(what, actual, expected) {
  const [got, wanted] = [actual, expected].map(value => JSON.stringify(value))
  if (got !== wanted) throw new Error(`${what}: expected ${wanted}, got ${got}`)
}
