import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checksumOf, noexecMount } from '../../dist/esm/backend/load.cjs'
import { backendInfo } from '../../dist/esm/index.js'
import { long, node, root } from '../support/process.ts'

const binary = backendInfo().loadedFrom
const platform = `${process.platform}-${process.arch}`
const own = 'native/build/Release/evenkeel.node'
const prebuilt = `prebuilds/${platform}.node`

/** The package as it is installed, without a binary. */
let folder = ''
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(os.tmpdir(), 'evenkeel-')))
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  copyFileSync(join(root, 'package.json'), join(folder, 'package.json'))
  mkdirSync(join(folder, 'native/build/Release'), { recursive: true })
  mkdirSync(join(folder, 'prebuilds'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const put = (name: string, bytes: Uint8Array = readFileSync(binary as string)) =>
  writeFileSync(join(folder, name), bytes)

/** What a process in that package sees. */
function look(env: { [name: string]: string } = {}, flags: string[] = [], prepare = '') {
  const program = `${prepare}
    const { backendInfo } = await import('evenkeel')
    console.log(JSON.stringify(backendInfo()))`
  const { stdout, stderr, code } = node(
    [...flags, '--input-type=module', '-e', program],
    { NODE_NO_WARNINGS: '', EVENKEEL_BACKEND: '', EVENKEEL_NATIVE_PATH: '', ...env },
    folder
  )
  expect(code, stderr).toBe(0)
  return { info: JSON.parse(stdout) as ReturnType<typeof backendInfo>, stderr }
}

describe.skipIf(binary === undefined)('behaviour: the native binary that is loaded', () => {
  it('is the prebuilt one, unless one was built on this machine', () => {
    put(prebuilt)
    expect(look()).toMatchObject({ info: { loadedFrom: join(folder, prebuilt), failures: [] }, stderr: '' })
    put(own)
    expect(look()).toMatchObject({ info: { loadedFrom: join(folder, own), failures: [] }, stderr: '' })
  })

  it('is the one that EVENKEEL_NATIVE_PATH names, and no other', () => {
    put(prebuilt)
    put('other.node')
    const named = look({ EVENKEEL_NATIVE_PATH: join(folder, 'other.node') })
    expect(named).toMatchObject({ info: { loadedFrom: join(folder, 'other.node') }, stderr: '' })
    expect(look({ EVENKEEL_NATIVE_PATH: 'other.node' }).info.loadedFrom).toBe(join(folder, 'other.node'))
    const { info, stderr } = look({ EVENKEEL_NATIVE_PATH: join(folder, 'absent.node') })
    expect(info).toMatchObject({ backend: 'js', failures: [{ path: join(folder, 'absent.node') }] })
    expect(stderr).toContain('absent.node did not load: there is no such file; EVENKEEL_NATIVE_PATH names it')
    const colored = look({ EVENKEEL_NATIVE_PATH: join(folder, 'a\u001b[31m.node') })
    expect(colored.stderr).toContain('a\\u001b[31m.node did not load')
  })

  it('is the next one where one does not load, and the reason is kept', () => {
    put(own, Buffer.from('not a binary'))
    put(prebuilt)
    const { info, stderr } = look()
    expect(info).toMatchObject({ loadedFrom: join(folder, prebuilt), failures: [{ path: join(folder, own) }] })
    expect(info.failures[0].why).toMatch(/; .*`npx evenkeel build`/)
    expect(stderr).toBe('')
    const told = node(['dist/esm/cli/index.js', 'info'], { EVENKEEL_NATIVE_PATH: '' }, folder).stdout
    expect(told).toContain(`not loaded:    ${join(folder, own)}: `)
  })

  it('is of this version: another one may give other bits', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const bytes = readFileSync(binary as string)
    const other = '9'.repeat(version.length)
    for (let at = bytes.indexOf(`${version}\0`); at >= 0; at = bytes.indexOf(`${version}\0`)) bytes.write(other, at)
    put(prebuilt, bytes)
    const { info, stderr } = look()
    expect(info).toMatchObject({ backend: 'js', failures: [{ path: join(folder, prebuilt) }] })
    expect(info.failures[0].why).toContain(`made for evenkeel ${other}, this is ${version}`)
    expect(stderr).toContain('running on the TypeScript backend')
  })

  it('is none where its end is missing, wherever it was cut: the process does not end', () => {
    const bytes = readFileSync(binary as string)
    const lengths = [0, 1, 64, 5000, bytes.length >> 1, Math.floor(0.9 * bytes.length), bytes.length - 1]
    if (long) lengths.push(3, 4, 16, 63, 65, 100, 500, bytes.length >> 2)
    if (long) lengths.push(...[0.6, 0.7, 0.8, 0.99].map(part => Math.floor(part * bytes.length)))
    for (const length of lengths) {
      put(prebuilt, bytes.subarray(0, length))
      const { info, stderr } = look()
      expect(info, `${length} bytes`).toMatchObject({ backend: 'js', failures: [{ path: join(folder, prebuilt) }] })
      if (length >= 64)
        expect(info.failures[0].why).toMatch(/^it is cut off: \d+ bytes expected, got \d+; install it again/)
      expect(stderr).toContain('running on the TypeScript backend')
    }
  })

  it.skipIf(process.platform !== 'linux')('is none where its end is zeros: it has its length, not its bytes', () => {
    const bytes = readFileSync(binary as string)
    for (const length of [500, 5000, bytes.length >> 1]) {
      put(prebuilt, Buffer.concat([bytes.subarray(0, length)], bytes.length))
      expect(look().info.failures[0].why).toMatch(/^its end was not written; install it again/)
    }
  })

  it('is none whose bytes are not those that were released: to run them could end the process', () => {
    const bytes = readFileSync(binary as string)
    const said = Buffer.from(checksumOf(`${platform}.node`, bytes))
    const damaged = bytes.slice()
    // All that is run when it is loaded, and not its headers and its end.
    damaged.fill(0, bytes.length >> 3, bytes.length - (bytes.length >> 3))
    put(`${prebuilt}.sha256`, said)
    put(prebuilt)
    expect(look()).toMatchObject({ info: { loadedFrom: join(folder, prebuilt), failures: [] }, stderr: '' })
    if (process.platform === 'linux') {
      const check = spawnSync('sha256sum', ['--check', '--strict', `${platform}.node.sha256`], {
        cwd: join(folder, 'prebuilds')
      })
      expect(check.status, String(check.stderr)).toBe(0)
    }
    put(prebuilt, damaged)
    const { info, stderr } = look()
    expect(info).toMatchObject({ backend: 'js', failures: [{ path: join(folder, prebuilt) }] })
    expect(info.failures[0].why).toMatch(/^it is damaged: its bytes are not those that were released; install it again/)
    expect(stderr).toContain('running on the TypeScript backend')
    put(prebuilt)
    put(`${prebuilt}.sha256`, Buffer.alloc(said.length))
    expect(look().info.failures[0].why).toMatch(/^its checksum, .*\.node\.sha256, is damaged; install it again/)
  })

  it('needs no checksum that the user built, named or signed', () => {
    const other = Buffer.from(checksumOf(`${platform}.node`, Buffer.alloc(readFileSync(binary as string).length)))
    put(prebuilt)
    put(`${prebuilt}.sha256`, other)
    put(`${own}.sha256`, other)
    const named = look({ EVENKEEL_NATIVE_PATH: join(folder, prebuilt) }).info
    expect(named).toMatchObject({ loadedFrom: join(folder, prebuilt), failures: [] })
    // A signature stands behind the rest.
    put(prebuilt, Buffer.concat([readFileSync(binary as string), Buffer.alloc(64, 1)]))
    expect(look().info).toMatchObject({ loadedFrom: join(folder, prebuilt), failures: [] })
    put(own)
    expect(look().info).toMatchObject({ loadedFrom: join(folder, own), failures: [] })
  })

  it('is none of another platform, cut off or whole', () => {
    // One LC_SEGMENT_64 (0x19) of all the file: its place and its size there.
    const macho = Buffer.alloc(8192)
    const words = { 0: 0xfeedfacf, 4: 7, 12: 6, 16: 1, 20: 72, 32: 0x19, 36: 72, 80: 8192 }
    for (const [at, word] of Object.entries(words)) macho.writeUInt32LE(word, Number(at))
    // One section behind an optional header of 240 bytes: its size in the file and its place there.
    const pe = Buffer.alloc(8192)
    pe.write('MZ')
    pe.write('PE', 64)
    for (const [at, word] of Object.entries({ 60: 64, 344: 4096, 348: 4096 })) pe.writeUInt32LE(word, Number(at))
    pe.writeUInt16LE(1, 70)
    pe.writeUInt16LE(240, 84)
    for (const bytes of [macho, pe]) {
      const why = (length: number) => {
        put('other.node', bytes.subarray(0, length))
        return look({ EVENKEEL_NATIVE_PATH: join(folder, 'other.node') }).info.failures[0].why
      }
      for (const length of [8191, 5000]) expect(why(length)).toContain(`cut off: 8192 bytes expected, got ${length}`)
      expect(why(8192)).not.toContain('cut off')
      if (process.platform === 'linux') expect(why(8192)).toContain('the file is of another platform')
    }
  })

  it('is none where EVENKEEL_NATIVE_PATH names something else: the reason, and no JavaScript is run', () => {
    const names = ['script.js', 'script.cjs', 'script', 'script.json', '.node', 'text.node', 'folder.node/index.js']
    mkdirSync(join(folder, 'folder.node'))
    for (const name of names) put(name, Buffer.from('process.stderr.write("a script ran")'))
    put('empty.node', Buffer.alloc(0))
    const reasons: { [name: string]: string } = {
      '.': 'it is no file',
      'folder.node': 'it is no file',
      'script.js/absent.node': 'there is no such file',
      'package.json': 'its name does not end in .node',
      'empty.node': 'it is empty',
      'text.node': ';'
    }
    for (const name of names.slice(0, long ? 5 : 2)) reasons[name] = 'its name does not end in .node'
    if (process.platform !== 'win32') {
      symlinkSync(join(folder, 'script.cjs'), join(folder, 'link.node'))
      spawnSync('mkfifo', [join(folder, 'pipe.node')])
      Object.assign(reasons, { 'link.node': 'its name does not end in .node', 'pipe.node': 'it is no file' })
    }
    for (const [name, why] of Object.entries(reasons)) {
      const path = join(folder, name)
      const { info, stderr } = look({ EVENKEEL_NATIVE_PATH: path })
      expect(info.failures[0].why, name).toContain(why)
      expect(info.failures[0].why, name).not.toContain('TypeError')
      expect(info, name).toMatchObject({ backend: 'js', failures: [{ path }] })
      expect(stderr, name).not.toContain('a script ran')
    }
  })

  it('is none that exports something else than evenkeel does', () => {
    const patched = (name: string) => {
      const bytes = readFileSync(binary as string)
      expect(bytes.indexOf(`\0${name}\0`), name).toBeGreaterThan(0)
      for (let at = bytes.indexOf(`\0${name}\0`); at >= 0; at = bytes.indexOf(`\0${name}\0`)) bytes.write('_', at + 1)
      put('other.node', bytes)
      const { info } = look({ EVENKEEL_NATIVE_PATH: join(folder, 'other.node') })
      expect(info.backend, name).toBe('js')
      return info.failures[0].why
    }
    for (const name of ['version', 'backends']) expect(patched(name)).toContain('it is no binary of evenkeel')
    for (const name of ['threads', 'signatures']) expect(patched(name)).toContain('made from other sources of evenkeel')
  })

  it('is none where addons are forbidden, with what to do', () => {
    put(prebuilt)
    const { info, stderr } = look({}, ['--no-addons'])
    expect(info.backend).toBe('js')
    expect(info.why).toContain('start Node.js with --allow-addons, or without --no-addons')
    expect(stderr).toContain('running on the TypeScript backend')
  })

  it('is none on a file system without programs: the warning says noexec, and no word of a build', () => {
    const mountinfo = [
      '22 1 254:0 / / rw,relatime - ext4 /dev/root rw',
      '30 22 0:27 / /srv/my\\040app rw,nosuid,noexec - tmpfs tmpfs rw',
      '31 30 0:28 / /srv/my\\040app/bin rw,nosuid - tmpfs tmpfs rw',
      '32 22 0:29 / /opt rw,noexec - tmpfs tmpfs rw',
      '33 22 0:30 / /opt rw - tmpfs tmpfs rw'
    ].join('\n')
    expect(noexecMount('/srv/my app/node_modules/a.node', mountinfo)).toBe('/srv/my app')
    for (const path of ['/srv/my app/bin/a.node', '/srv/my application/a.node', '/opt/a.node', '/a.node']) {
      expect(noexecMount(path, mountinfo), path).toBeUndefined()
    }
    expect(noexecMount('/a.node', '')).toBeUndefined()
    const mounted = join(folder, 'mounted')
    mkdirSync(mounted)
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'noexec', 'tmpfs', mounted]).status !== 0) return // no right to
    try {
      put('mounted/evenkeel.node')
      const { info, stderr } = look({ EVENKEEL_NATIVE_PATH: join(mounted, 'evenkeel.node') })
      expect(info.failures[0].why).toContain(
        `noexec: the file system on ${mounted} may not hold programs; install else`
      )
      expect(stderr.split('\n')[0]).toMatch(/running on the TypeScript backend: .* did not load: noexec: /)
      expect(stderr).not.toContain('npx evenkeel build')
    } finally {
      spawnSync('umount', [mounted])
    }
  })

  it('is none under Deno without its flags: no error, and the reason', () => {
    put(prebuilt)
    const denied = (what: string) => `
      const deny = () => { throw Object.assign(new Error('Requires ${what} access'), { name: 'NotCapable' }) }`
    const env = `${denied('env')}
      process.env = new Proxy(process.env, { get: (all, name) => /^EVENKEEL_/.test(name) ? deny() : all[name] })`
    const ffi = `${denied('ffi')}
      process.dlopen = deny`
    const advice = 'Deno loads it with --allow-env --allow-read --allow-ffi'
    const { info, stderr } = look({}, [], env)
    expect(info).toMatchObject({ backend: 'js', failures: [] })
    expect(info.why).toBe(`the native binary could not be looked for: Requires env access; ${advice}`)
    expect(stderr).toContain(`running on the TypeScript backend: ${info.why}`)
    expect(look({}, [], ffi).info.failures).toEqual([
      { path: join(folder, prebuilt), why: `Requires ffi access; ${advice}` }
    ])
  })

  it('is one object for both module systems', () => {
    put(prebuilt)
    const program = `
      import { createRequire } from 'node:module'
      import { native } from './dist/esm/backend/native.js'
      const cjs = createRequire(import.meta.url)('./dist/cjs/backend/native.js')
      console.log(native.addon !== undefined && native.addon === cjs.native.addon)`
    writeFileSync(join(folder, 'program.mjs'), program)
    expect(node(['program.mjs'], {}, folder).stdout).toBe('true\n')
  })
})

describe('behaviour: where no binary is made for the platform', () => {
  it('runs in TypeScript without a warning, and says why when it is asked', () => {
    const { info, stderr } = look({}, [], `Object.defineProperty(process, 'platform', { value: 'sunos' })`)
    expect(stderr).toBe('')
    expect(info).toMatchObject({ backend: 'js', failures: [] })
    expect(info.why).toBe(`no native binary is made for sunos-${process.arch}; \`npx evenkeel build\` compiles it here`)
  })

  it('warns where the package should have one', () => {
    const { info, stderr } = look()
    expect(info.why).toContain(`no native binary for ${platform} was found`)
    expect(stderr).toContain(`running on the TypeScript backend: ${info.why}`)
    const told = node(
      ['dist/esm/cli/index.js', 'info'],
      { EVENKEEL_BACKEND: '', EVENKEEL_NATIVE_PATH: '' },
      folder
    ).stdout
    expect(told).toContain('backend:       js (TypeScript: the same bits, several times slower)\n')
    expect(told).toContain(`why:           ${info.why}\n`)
    expect(told).toMatch(/^no avx512, .*: no native binary is loaded$/m)
  })
})

describe('behaviour: evenkeel/js', () => {
  it('is the TypeScript implementation, whatever there is, for import and require', () => {
    const program = `
      import { createRequire } from 'node:module'
      import * as esm from 'evenkeel/js'
      import * as native from 'evenkeel'
      const cjs = createRequire(import.meta.url)('evenkeel/js')
      console.log(esm.backend, esm.backends, cjs.backend, esm.backendInfo().why)
      console.log([esm, cjs].every(one => Object.keys(one).sort().join() === Object.keys(native).sort().join()))`
    const { stdout } = node(['--input-type=module', '-e', program], {}, root)
    expect(stdout).toBe(`js [ 'js' ] js this is evenkeel/js, the TypeScript implementation alone\ntrue\n`)
  })

  it('has no trace of Node.js', () => {
    const files = (readdirSync(join(root, 'dist/js'), { recursive: true }) as string[]).filter(name =>
      name.endsWith('.js')
    )
    expect(files.length).toBeGreaterThan(10)
    for (const name of files) {
      const text = readFileSync(join(root, 'dist/js', name), 'utf8')
      const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
      expect(code, name).not.toMatch(/node:|\bprocess\b|\bBuffer\b|__dirname|require\((?!"\.\.?\/)/)
    }
  })
})

describe('behaviour: evenkeel build', () => {
  it('says what is missing', () => {
    const gyp = join(folder, 'node-gyp.js')
    writeFileSync(gyp, '')
    const build = (env: { [name: string]: string }) =>
      node(['dist/esm/cli/index.js', 'build'], { PATH: folder, ...env }, folder)
    const tools = { npm_config_node_gyp: gyp, CXX: 'no-such-compiler' }
    const headers = build(tools)
    expect(headers.code).toBe(1)
    expect(headers.stderr).toContain(
      'node-addon-api expected (its headers), got none: npm install --save-dev node-addon-api'
    )
    const { code, stderr } = build({ ...tools, EVENKEEL_NODE_ADDON_API: folder })
    expect(code).toBe(1)
    if (process.platform !== 'win32')
      expect(stderr).toContain('on the PATH expected a C++ compiler, make, python3, got none: ')
    expect(existsSync(join(folder, own))).toBe(false)
  })

  it('names the headers from where the compiler runs: make takes a path with a space for two', () => {
    const spaced = join(folder, 'a space')
    mkdirSync(join(spaced, 'node_modules/node-addon-api'), { recursive: true })
    for (const name of ['dist', 'package.json', 'native']) {
      cpSync(join(folder, name), join(spaced, name), { recursive: true })
    }
    writeFileSync(join(spaced, 'node_modules/node-addon-api/napi.h'), '')
    for (const tool of ['c++', 'make', 'python3']) writeFileSync(join(folder, tool), '')
    const gyp = join(folder, 'node-gyp.js')
    writeFileSync(gyp, 'console.log("headers from", process.env.EVENKEEL_NODE_ADDON_API); process.exit(1)')
    const env = { PATH: folder, npm_config_node_gyp: gyp }
    const { code, stdout } = node(['dist/esm/cli/index.js', 'build'], env, spaced)
    expect(code).toBe(1)
    expect(stdout).toContain(`node-addon-api: ${join(spaced, 'node_modules/node-addon-api')}\n`)
    expect(stdout).toContain(`headers from ${join('..', 'node_modules/node-addon-api')}\n`)
  })
})
