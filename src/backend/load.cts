// Finds and loads the native binary. CommonJS on purpose: the ESM and the CommonJS build run the same few lines, with
// __dirname in both, and Node.js gives both the same addon.
import type { Addon, Loaded } from './types.js' with { 'resolution-mode': 'import' }

/** The platforms that the npm package has binaries for; on Linux one binary serves glibc and musl. */
export const PLATFORMS = ['linux-x64', 'linux-arm64', 'win32-x64', 'win32-arm64', 'darwin-x64', 'darwin-arm64'] as const

const rebuild = '`npx evenkeel build` compiles it here'
const denoFlags = 'Deno loads it with --allow-env --allow-read --allow-ffi'

/** Why a file did not load, by the error of require, and what to do about it. */
function explain(path: string, error: Error & { code?: string }): string {
  const [reason] = error.message.split('\n')
  if (error.name === 'NotCapable') return `${reason}; ${denoFlags}`
  if (error.code === 'ERR_DLOPEN_DISABLED')
    return `${reason}; start Node.js with --allow-addons, or without --no-addons`
  if (/ELF|wrong architecture|incompatible|Win32 application/i.test(reason)) {
    return `${reason}; the file is of another platform: install on this one, or ${rebuild}`
  }
  if (/failed to map segment|not permitted|permission denied/i.test(reason)) {
    const elsewhere = 'install elsewhere, or name a copy elsewhere with EVENKEEL_NATIVE_PATH'
    const mount = noexecMount(path, textOf('/proc/self/mountinfo'))
    if (mount !== undefined)
      return `noexec: the file system on ${mount} may not hold programs; ${elsewhere} (${reason})`
    return `${reason}; the system lets no program run from there: ${elsewhere}`
  }
  return `${reason}; ${rebuild}`
}

/** The mount that a file is on, where that is noexec; `mountinfo` is the text of /proc/self/mountinfo. */
export function noexecMount(path: string, mountinfo: string): string | undefined {
  let mount = ''
  let noexec = false
  for (const line of mountinfo.split('\n')) {
    const [, , , , escaped = '', options = ''] = line.split(' ')
    const point = escaped.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
    const holds = point !== '' && `${path}/`.startsWith(point.endsWith('/') ? point : `${point}/`)
    // The last one of a place covers those before.
    if (holds && point.length >= mount.length) [mount, noexec] = [point, options.split(',').includes('noexec')]
  }
  return noexec ? mount : undefined
}

/**
 * What is wrong with a file that is to be loaded, before the system maps it: reading a binary whose end is missing (a broken
 * image layer, a full disk) would end the process. undefined where its headers promise nothing that is not there.
 */
function damageOf(path: string): string | undefined {
  const { openSync, readSync, closeSync, statSync } = process.getBuiltinModule?.('node:fs') ?? require('node:fs')
  // Before it is opened: opening a pipe would wait for a writer.
  const about = statSync(path)
  if (!about.isFile()) return 'it is no file'
  const { size } = about
  const file = openSync(path, 'r')
  try {
    const bytes = (length: number, at: number): Buffer => {
      const buffer = Buffer.alloc(length)
      return buffer.subarray(0, Math.max(0, readSync(file, buffer, 0, length, at)))
    }
    const end = endOf(bytes)
    if (end === undefined) return size === 0 ? 'it is empty' : undefined // of no format that we know: the system refuses it
    if (end > size) return `it is cut off: ${end} bytes expected, got ${size}`
    return isWritten(bytes) ? undefined : 'its end was not written'
  } finally {
    closeSync(file)
  }
}

/**
 * What is said of a released binary in the file beside it, NAME.sha256: its length, and its SHA-256 in the form that
 * `sha256sum --check` reads. scripts/prebuild.mjs writes it.
 */
export function checksumOf(name: string, bytes: Uint8Array): string {
  const { createHash } = process.getBuiltinModule?.('node:crypto') ?? require('node:crypto')
  return `# ${bytes.length} bytes\n${createHash('sha256').update(bytes).digest('hex')}  ${name}\n`
}

/**
 * What is wrong with a binary of the package whose bytes are not those that were released: to run it could end the process.
 * undefined also where nothing is said of it, and where it has another length: signing a binary gives it one, and where it
 * is cut off its headers say so.
 */
function changeOf(path: string, name: string): string | undefined {
  const { existsSync, readFileSync } = process.getBuiltinModule?.('node:fs') ?? require('node:fs')
  const list = `${path}.sha256`
  if (!existsSync(list)) return undefined
  const released = readFileSync(list, 'utf8')
  const [, length] = /^# (\d+) bytes\n[\da-f]{64} /.exec(released) ?? []
  if (length === undefined) return `its checksum, ${list}, is damaged`
  const bytes = readFileSync(path)
  if (bytes.length !== Number(length)) return undefined
  try {
    return released === checksumOf(name, bytes)
      ? undefined
      : 'it is damaged: its bytes are not those that were released'
  } catch {
    return undefined // a Node.js without OpenSSL has no node:crypto
  }
}

/** How long a binary must be at least, as its headers say: ELF, PE and Mach-O of 64 bits. */
function endOf(bytes: (length: number, at: number) => Buffer): number | undefined {
  const head = bytes(64, 0)
  if (head.length < 64) return head.length === 0 ? undefined : isBinary(head) ? 64 : undefined
  if (head.readUInt32BE(0) === 0x7f454c46) {
    if (head[4] !== 2 || head[5] !== 1) return undefined // 32 bits or big-endian
    // The table of sections stands behind everything, also in a stripped file.
    const [offset, entry, count] = [Number(head.readBigUInt64LE(40)), head.readUInt16LE(58), head.readUInt16LE(60)]
    const segments = bytes(56 * head.readUInt16LE(56), Number(head.readBigUInt64LE(32)))
    let end = offset + entry * count
    for (let at = 0; at + 56 <= segments.length; at += 56) {
      end = Math.max(end, Number(segments.readBigUInt64LE(at + 8)) + Number(segments.readBigUInt64LE(at + 32)))
    }
    return end
  }
  if (head.toString('latin1', 0, 2) === 'MZ') {
    const start = head.readUInt32LE(60)
    const coff = bytes(24, start)
    if (coff.length < 24) return start + 24
    const table = start + 24 + coff.readUInt16LE(20)
    const count = coff.readUInt16LE(6)
    const sections = bytes(40 * count, table)
    let end = table + 40 * count
    for (let at = 0; at + 40 <= sections.length; at += 40) {
      end = Math.max(end, sections.readUInt32LE(at + 16) + sections.readUInt32LE(at + 20))
    }
    return end
  }
  if (head.readUInt32LE(0) === 0xfeedfacf) {
    const length = head.readUInt32LE(20)
    const commands = bytes(Math.min(length, 2 ** 20), 32)
    let end = 32 + length
    for (let at = 0; at + 56 <= commands.length; ) {
      // LC_SEGMENT_64: where its part of the file ends.
      if (commands.readUInt32LE(at) === 0x19) {
        const part = Number(commands.readBigUInt64LE(at + 40)) + Number(commands.readBigUInt64LE(at + 48))
        end = Math.max(end, part)
      }
      at += Math.max(8, commands.readUInt32LE(at + 4))
    }
    return end
  }
  return undefined
}

/**
 * Whether an ELF file has its last table. After a power failure, or where a download reserved its room, a file can have its
 * length and zeros at its end.
 */
function isWritten(bytes: (length: number, at: number) => Buffer): boolean {
  const head = bytes(64, 0)
  if (head.readUInt32BE(0) !== 0x7f454c46) return true
  const [entry, count, names] = [head.readUInt16LE(58), head.readUInt16LE(60), head.readUInt16LE(62)]
  if (names === 0 || names >= count) return true
  const type = bytes(4, Number(head.readBigUInt64LE(40)) + entry * names + 4)
  return type.length === 4 && type.readUInt32LE(0) === 3 // SHT_STRTAB, the type of the table of names
}

function isBinary(head: Buffer): boolean {
  const magic = head.toString('latin1', 0, 4)
  return magic === '\x7fELF' || magic.startsWith('MZ') || magic === '\xcf\xfa\xed\xfe'
}

/** What is wrong with something that was loaded as the addon. */
function oddityOf(addon: Addon, version: string): string | undefined {
  const isAddon =
    typeof addon === 'object' && addon !== null && typeof addon.version === 'string' && Array.isArray(addon.backends)
  if (!isAddon) return `it is no binary of evenkeel; ${rebuild}`
  if (addon.version !== version) return `made for evenkeel ${addon.version}, this is ${version}; ${rebuild}`
  // A binary of an earlier build of the same version.
  if (typeof addon.threads !== 'function' || typeof addon.signatures !== 'object') {
    return `made from other sources of evenkeel ${version}; ${rebuild}`
  }
  return undefined
}

/** Only a platform without a binary is an ordinary reason to go on without one; any other failure is told in full. */
export function loadAddon(version: string): Loaded {
  const failures: { path: string; why: string }[] = []
  const platform = `${process.platform}-${process.arch}`
  const binary = `${platform}.node`
  const fail = (failure: string, ordinary = false) => ({ failure, failures, ordinary })
  try {
    // The functions of Node.js in a way that bundlers leave alone in each of their formats; Node.js before 20.16 has
    // `require` alone.
    const { existsSync, realpathSync } = process.getBuiltinModule?.('node:fs') ?? require('node:fs')
    const { createRequire } = process.getBuiltinModule?.('node:module') ?? require('node:module')
    const { resolve } = process.getBuiltinModule?.('node:path') ?? require('node:path')

    const forced = process.env.EVENKEEL_NATIVE_PATH
    // A bundle of ES modules has no __filename, and the working directory is nothing to load a binary from.
    const file = typeof __filename === 'string' ? __filename : ''
    const found = /\bload\.cjs$/.test(file)
      ? [
          `${__dirname}/../../../native/build/Release/evenkeel.node`, // `npx evenkeel build`
          `${__dirname}/../../../prebuilds/${binary}`
        ]
      : file !== ''
        ? [`${__dirname}/evenkeel/${binary}`] // a bundle: prebuilds/ was copied beside it under this name
        : []
    const paths = forced ? [forced] : found
    for (const path of paths.map(path => resolve(path))) {
      if (!existsSync(path)) {
        if (forced) failures.push({ path, why: 'there is no such file; EVENKEEL_NATIVE_PATH names it' })
        continue
      }
      try {
        const isReleased = !forced && path.endsWith(binary) // and neither built nor named by the user
        const damage = damageOf(path) ?? (isReleased ? changeOf(path, binary) : undefined)
        if (damage !== undefined) {
          failures.push({ path, why: `${damage}; install it again, or ${rebuild}` })
          continue
        }
        // Node.js would run anything else as JavaScript.
        if (!/[^/\\]\.node$/.test(realpathSync.native(path))) {
          failures.push({ path, why: 'its name does not end in .node; EVENKEEL_NATIVE_PATH names it' })
          continue
        }
        const addon: Addon = createRequire(path)(path)
        const why = oddityOf(addon, version)
        if (why === undefined) return { addon, path, failures, ordinary: false }
        failures.push({ path, why })
      } catch (error) {
        failures.push({ path, why: explain(realpathSync(path), error as Error) })
      }
    }
    if (failures.length > 0) return fail(failures.map(({ path, why }) => `${path} did not load: ${why}`).join('; '))
  } catch (error) {
    const { name, message } = error as Error
    const advice = name === 'NotCapable' ? `; ${denoFlags}` : ''
    return fail(`the native binary could not be looked for: ${message}${advice}`)
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

/** A folder and all that it is in, but for '/'. */
function parents(path: string): string[] {
  const folders: string[] = []
  for (let folder = path; folder !== '' && folder !== '/'; folder = folder.replace(/\/[^/]*$/, '')) folders.push(folder)
  return folders
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
  // Where both versions are mounted, version 2 is in a folder of its own.
  for (const root of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
    for (const folder of group === undefined ? [] : [...parents(group), '']) {
      const [quota, period] = read(`${root}${folder}/cpu.max`).split(/\s+/)
      if (period) limit(quota, period)
    }
  }
  // Version 1: the same, below the folder of the controller, which has one of two names. In a container with its own view of
  // the file system the group is the folder itself, whatever /proc calls it.
  const controller = /^\d+:(?:[^:\n]*,)?cpu(?:,[^:\n]*)?:(\/.*)$/m.exec(read('/proc/self/cgroup'))?.[1]
  for (const root of ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup/cpuacct,cpu']) {
    for (const folder of [...parents(controller ?? '/'), '']) {
      const quota = read(`${root}${folder}/cpu.cfs_quota_us`)
      if (quota) limit(quota, read(`${root}${folder}/cpu.cfs_period_us`))
    }
  }
  return cores
}
