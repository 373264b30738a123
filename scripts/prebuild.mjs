// Builds the binaries of the npm package into prebuilds/<platform>-<arch>.node: all that this machine has a compiler for,
// or those that are named, each with its checksum beside it. usage: npm run build:prebuilds [-- TARGET...]
//
// The releases' binaries come from the release workflow, each built and tested on its own system. The one for Windows that
// MinGW makes here serves as a check alone.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import load from '../dist/esm/backend/load.cjs'
import { compile, missingTools } from '../dist/esm/cli/compile.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)
const host = `${process.platform}-${process.arch}`

class Unavailable extends Error {}

function run(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (error?.code === 'ENOENT') throw new Unavailable(`${command} is not on the PATH`)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`)
}

/** With node-gyp; `env` names the compilers of another machine. */
function withNodeGyp(folder, arch, env) {
  for (const command of Object.values(env)) run(command, ['--version'])
  const missing = missingTools()
  if (missing.length > 0) throw new Unavailable(`not on the PATH: ${missing.join(', ')}`)
  const { ok, output } = compile(folder, arch, env)
  if (!ok) throw new Error(output)
  return join(folder, 'build', 'Release', 'evenkeel.node')
}

/** With MinGW: node-gyp would ask for Visual Studio. */
function withMinGW(folder) {
  const prefix = 'x86_64-w64-mingw32-'
  run(`${prefix}g++-posix`, ['--version'])
  const [target] = JSON.parse(readFileSync(join(folder, 'binding.gyp'), 'utf8')).targets
  const headers = dirname(require.resolve('node-api-headers/package.json'))
  const functions = ['js_native_api', 'node_api'].flatMap(name =>
    readFileSync(join(headers, 'def', `${name}.def`), 'utf8')
      .split('\n')
      .filter(line => /^\s*\w+\s*$/.test(line) && !/^\s*(NAME|EXPORTS)/.test(line))
  )
  writeFileSync(join(folder, 'node.def'), `LIBRARY node.exe\nEXPORTS\n${functions.join('\n')}\n`)
  run(`${prefix}dlltool`, ['-d', 'node.def', '-l', 'libnode.a'], folder)
  const flags = [
    ...target.cflags_cc,
    ...target.defines.map(define => `-D${define}`),
    '-DBUILDING_NODE_EXTENSION',
    `-I${join(headers, 'include')}`,
    `-I${dirname(require.resolve('node-addon-api/package.json'))}`,
    '-Wa,-muse-unaligned-vector-move' // GCC's stack on Windows is aligned to 16 bytes only (its bug 54412)
  ]
  run(
    `${prefix}g++-posix`,
    [...flags, '-shared', '-static', '-o', 'evenkeel.node', ...target.sources, 'libnode.a'],
    folder
  )
  return join(folder, 'evenkeel.node')
}

const arm64 = 'aarch64-linux-gnu-'
const cross = {
  'linux-x64': {
    'linux-arm64': {
      make: folder => withNodeGyp(folder, 'arm64', { CC: `${arm64}gcc`, CXX: `${arm64}g++`, AR: `${arm64}ar` }),
      strip: [`${arm64}strip`, '--strip-unneeded']
    },
    'win32-x64': { make: withMinGW, strip: ['x86_64-w64-mingw32-strip', '--strip-unneeded'] }
  },
  'darwin-arm64': { 'darwin-x64': { make: folder => withNodeGyp(folder, 'x64', {}), strip: ['strip', '-x'] } },
  'win32-x64': { 'win32-arm64': { make: folder => withNodeGyp(folder, 'arm64', {}) } }
}
const ownStrip = { linux: ['strip', '--strip-unneeded'], darwin: ['strip', '-x'] }
const recipes = {
  [host]: { make: folder => withNodeGyp(folder, process.arch, {}), strip: ownStrip[process.platform] },
  ...cross[host]
}

/** Every 64-bit ARM has NEON: the portable kernels would be half of the binary and never run. */
function leaveOutPortable(file) {
  const gyp = JSON.parse(readFileSync(file, 'utf8'))
  const [target] = gyp.targets
  target.sources = target.sources.filter(source => source !== 'isa/portable.cpp')
  target.defines.push('EVENKEEL_WITHOUT_PORTABLE')
  writeFileSync(file, JSON.stringify(gyp))
}

function prebuild(target) {
  const recipe = recipes[target]
  if (!recipe) throw new Unavailable(`cannot be built on ${host}`)
  // A copy of the sources: native/build/ belongs to the developer.
  const folder = join(root, 'build', 'prebuild', target)
  rmSync(folder, { recursive: true, force: true })
  cpSync(join(root, 'native'), folder, { recursive: true, filter: path => path !== join(root, 'native', 'build') })
  if (target.endsWith('-arm64')) leaveOutPortable(join(folder, 'binding.gyp'))
  const made = recipe.make(folder)
  if (recipe.strip) run(recipe.strip[0], [...recipe.strip.slice(1), made])
  if (target.startsWith('linux-')) run(process.execPath, [join(root, 'scripts', 'check-abi.mjs'), made])
  const path = join(root, 'prebuilds', `${target}.node`)
  mkdirSync(dirname(path), { recursive: true })
  rmSync(path, { force: true }) // a process may have loaded the old one
  cpSync(made, path)
  writeFileSync(`${path}.sha256`, load.checksumOf(`${target}.node`, readFileSync(path)))
  console.log(`prebuilds/${target}.node: ${statSync(path).size} bytes`)
}

const named = process.argv.slice(2)
const unknown = named.filter(target => !load.PLATFORMS.includes(target))
if (unknown.length > 0) {
  throw new RangeError(`target expected ${load.PLATFORMS.join(', ')}, got ${unknown.join(', ')}`)
}
for (const target of named.length > 0 ? named : load.PLATFORMS) {
  try {
    prebuild(target)
  } catch (error) {
    if (!(error instanceof Unavailable) || named.length > 0) throw error
    // A binary of an earlier build would pass for one of these sources.
    for (const name of [`${target}.node`, `${target}.node.sha256`])
      rmSync(join(root, 'prebuilds', name), { force: true })
    console.log(`${target}: not built here, ${error.message}`)
  }
}
