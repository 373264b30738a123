// Builds what is missing or out of date: the TypeScript (ESM and CommonJS) and, where there is a toolchain, the addon.
// Without a toolchain that is no failure: everything runs on the TypeScript kernels. --force builds all anew.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const force = process.argv.includes('--force')
const require = createRequire(import.meta.url)

/** Files below a path that exist, with their times of change. */
function* files(path) {
  const full = join(root, path)
  if (!existsSync(full)) return
  if (!statSync(full).isDirectory()) yield statSync(full).mtimeMs
  else for (const name of readdirSync(full, { recursive: true })) yield statSync(join(full, name)).mtimeMs
}

/** Whether `target` exists and nothing of `sources` has changed since it was made. */
function isFresh(target, sources) {
  if (force) return false
  const [made] = files(target)
  return made !== undefined && sources.every(source => [...files(source)].every(changed => changed <= made))
}

function run(script, args, options = {}) {
  return spawnSync(process.execPath, [script, ...args], { cwd: root, encoding: 'utf8', ...options })
}

function fail(what, { stdout, stderr }) {
  const tail = `${stdout ?? ''}${stderr ?? ''}`.trimEnd().split('\n').slice(-40).join('\n')
  console.error(`${tail}\nevenkeel: ${what} failed`)
  process.exit(1)
}

function buildTypeScript() {
  const stamp = join('dist', 'built')
  if (isFresh(stamp, ['src', 'tsconfig.json', 'tsconfig.cjs.json', 'package.json'])) return
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  for (const project of ['tsconfig.json', 'tsconfig.cjs.json']) {
    const result = run(tsc, ['-p', project])
    if (result.status !== 0) fail(`tsc -p ${project}`, result)
  }
  writeFileSync(join(root, 'dist', 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
  writeFileSync(join(root, stamp), '')
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some(folder => folder !== '' && existsSync(join(folder, program)))
}

/** What node-gyp needs and this machine has not. On Windows node-gyp itself looks for Visual Studio. */
function missingTools() {
  if (process.platform === 'win32') return []
  const cxx = process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['c++', 'g++', 'clang++']
  const needs = { 'a C++ compiler': cxx, make: ['make', 'gmake'], python3: ['python3', 'python'] }
  return Object.entries(needs)
    .filter(([, names]) => !names.some(name => existsSync(name) || onPath(name)))
    .map(([what]) => what)
}

function buildAddon() {
  const binary = join('build', 'Release', 'evenkeel.node')
  const sources = readdirSync(join(root, 'native')).filter(name => /^(isa|ops|.*\.(h|cpp))$/.test(name))
  if (isFresh(binary, ['binding.gyp', ...sources.map(name => join('native', name))])) return
  const missing = missingTools()
  if (missing.length > 0) {
    console.log(
      `evenkeel: no native build (not on the PATH: ${missing.join(', ')}); the TypeScript kernels give the same bits`
    )
    return
  }
  console.log('evenkeel: building the native kernels')
  const gyp = join(dirname(require.resolve('node-gyp/package.json')), 'bin', 'node-gyp.js')
  // Node's own headers where they lie beside it: nothing to download.
  const beside = join(dirname(dirname(process.execPath)), 'include', 'node', 'node_api.h')
  const nodedir = process.env.npm_config_nodedir ?? (existsSync(beside) ? dirname(dirname(dirname(beside))) : undefined)
  const args = ['configure', 'build', '--jobs=max', ...(nodedir ? [`--nodedir=${nodedir}`] : [])]
  mkdirSync(join(root, 'build'), { recursive: true })
  const result = run(gyp, args)
  if (result.status !== 0) {
    const lacks = /gyp ERR! find (VS|Python)|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.exec(result.stderr)
    if (lacks) {
      const what = lacks[1] ?? "Node's headers, and no network to fetch them"
      console.log(`evenkeel: no native build (node-gyp found no ${what}); the TypeScript kernels give the same bits`)
      return
    }
    fail('the native build', result)
  }
}

buildTypeScript()
buildAddon()
