// Finds and loads the native binary. CommonJS on purpose: the ESM and the CommonJS build run the same few lines, with
// __dirname in both, and Node.js gives both the same addon.
import type { Addon, Loaded } from './types.js' with { 'resolution-mode': 'import' }

/** The platforms that the npm package has binaries for; on Linux one binary serves glibc and musl. */
export const PLATFORMS = ['linux-x64', 'linux-arm64', 'win32-x64', 'win32-arm64', 'darwin-x64', 'darwin-arm64'] as const

const rebuild = '`npx evenkeel build` compiles it here'

/** What to do about an error of require. */
function advice(error: { code?: string; message: string }): string {
  if (error.code === 'ERR_DLOPEN_DISABLED') return 'start Node.js with --allow-addons, or without --no-addons'
  if (/ELF|wrong architecture|incompatible|Win32 application/i.test(error.message)) {
    return `the file is of another platform: install on this one, or ${rebuild}`
  }
  return rebuild
}

/** Only a platform without a binary is an ordinary reason to go on without one; any other failure is told in full. */
export function loadAddon(version: string): Loaded {
  const failures: { path: string; why: string }[] = []
  const platform = `${process.platform}-${process.arch}`
  const fail = (failure: string, ordinary = false) => ({ failure, failures, ordinary })
  try {
    // The functions of Node.js in a way that bundlers leave alone in each of their formats; Node.js before 20.16 has
    // `require` alone.
    const { existsSync } = process.getBuiltinModule?.('node:fs') ?? require('node:fs')
    const { createRequire } = process.getBuiltinModule?.('node:module') ?? require('node:module')
    const { resolve } = process.getBuiltinModule?.('node:path') ?? require('node:path')

    const forced = process.env.EVENKEEL_NATIVE_PATH
    // A bundle of ES modules has no __filename, and the working directory is nothing to load a binary from.
    const file = typeof __filename === 'string' ? __filename : ''
    const found = /\bload\.cjs$/.test(file)
      ? [
          `${__dirname}/../../../native/build/Release/evenkeel.node`, // `npx evenkeel build`
          `${__dirname}/../../../prebuilds/${platform}.node`
        ]
      : file !== ''
        ? [`${__dirname}/evenkeel/${platform}.node`] // a bundle: prebuilds/ was copied beside it under this name
        : []
    const paths = forced ? [forced] : found
    for (const path of paths.map(path => resolve(path))) {
      if (!existsSync(path)) {
        if (forced) failures.push({ path, why: 'there is no such file; EVENKEEL_NATIVE_PATH names it' })
        continue
      }
      try {
        const addon: Addon = createRequire(path)(path)
        if (addon.version === version) return { addon, path, failures, ordinary: false }
        failures.push({ path, why: `made for evenkeel ${addon.version}, this is ${version}; ${rebuild}` })
      } catch (error) {
        const [reason] = (error as Error).message.split('\n')
        failures.push({ path, why: `${reason}; ${advice(error as Error)}` })
      }
    }
    if (failures.length > 0) return fail(failures.map(({ path, why }) => `${path} did not load: ${why}`).join('; '))
  } catch (error) {
    return fail(`the native binary could not be looked for: ${(error as Error).message}`)
  }
  if (!(PLATFORMS as readonly string[]).includes(platform)) {
    return fail(`no native binary is made for ${platform}; ${rebuild}`, true)
  }
  return fail(
    `no native binary for ${platform} was found: a bundler or a copy left prebuilds/ out (docs/deploying.md), or ${rebuild}`
  )
}

/** The text of a file, '' where it cannot be read: another system, another version of cgroups, or no permission. */
function textOf(path: string): string {
  const { readFileSync } = process.getBuiltinModule?.('node:fs') ?? require('node:fs')
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function availableCores(): number {
  return (process.getBuiltinModule?.('node:os') ?? require('node:os')).availableParallelism()
}

/**
 * How many cores this process may use: those that its affinity names (`available`), or fewer where a cgroup grants less of
 * their time. `read` gives the text of a file.
 */
export function usableCores(read: (path: string) => string = textOf, available: number = availableCores()): number {
  let cores = available
  const limit = (quota: string, period: string) => {
    const granted = Math.floor(Number(quota) / Number(period)) // NaN for 'max', negative for none
    if (granted >= 0) cores = Math.min(cores, Math.max(1, granted))
  }
  if (process.platform !== 'linux') return cores
  // Version 2: the group's own limit and those of all groups that it is in. In a container the last of them is '/'.
  const group = /^0::(\/.*)$/m.exec(read('/proc/self/cgroup'))?.[1]
  for (
    let folder = group;
    folder !== undefined;
    folder = folder === '/' ? undefined : folder.replace(/\/[^/]*$/, '') || '/'
  ) {
    const [quota, period] = read(`/sys/fs/cgroup${folder === '/' ? '' : folder}/cpu.max`).split(/\s+/)
    if (period) limit(quota, period)
  }
  // Version 1.
  const quota = read('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')
  if (quota) limit(quota, read('/sys/fs/cgroup/cpu/cpu.cfs_period_us'))
  return cores
}
