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
  writeFileSync
} from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { backendInfo } from '../../dist/esm/index.js'
import { node, root } from '../support/process.ts'

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
    const lengths = [0, 1, 3, 4, 16, 63, 64, 65, 100, 500, 5000, bytes.length >> 2, bytes.length >> 1, bytes.length - 1]
    for (const length of [...lengths, ...[0.6, 0.7, 0.8, 0.9, 0.99].map(part => Math.floor(part * bytes.length))]) {
      put(prebuilt, bytes.subarray(0, length))
      const { info, stderr } = look()
      expect(info, `${length} bytes`).toMatchObject({ backend: 'js', failures: [{ path: join(folder, prebuilt) }] })
      if (length >= 64)
        expect(info.failures[0].why).toMatch(/^it is cut off: \d+ bytes expected, got \d+; install it again/)
      expect(stderr).toContain('running on the TypeScript backend')
    }
  })

  it('is none where EVENKEEL_NATIVE_PATH names something else, with the reason', () => {
    // package.json of this folder says that scripts are ES modules.
    put('script.js', Buffer.from('export const version = "0.1.0"'))
    put('number.cjs', Buffer.from('module.exports = 5'))
    put('older.cjs', Buffer.from('module.exports = { version: "0.1.0", backends: [] }'))
    put('throws.cjs', Buffer.from('throw new Error("no")'))
    const wrong = {
      [folder]: 'it is no file',
      [join(folder, 'script.js')]: ';',
      [join(folder, 'number.cjs')]: 'it is no binary of evenkeel',
      [join(folder, 'older.cjs')]: 'made from other sources of evenkeel',
      [join(folder, 'throws.cjs')]: 'no;',
      [join(folder, 'package.json')]: 'it is no binary of evenkeel'
    }
    for (const [path, why] of Object.entries(wrong)) {
      const { info } = look({ EVENKEEL_NATIVE_PATH: path })
      if (path.endsWith('package.json')) expect(info.failures[0].why).not.toContain('TypeError')
      else expect(info.failures[0].why, path).toContain(why)
      expect(info).toMatchObject({ backend: 'js', failures: [{ path }] })
    }
  })

  it('is none where addons are forbidden, with what to do', () => {
    put(prebuilt)
    const { info, stderr } = look({}, ['--no-addons'])
    expect(info.backend).toBe('js')
    expect(info.why).toContain('start Node.js with --allow-addons, or without --no-addons')
    expect(stderr).toContain('running on the TypeScript backend')
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
