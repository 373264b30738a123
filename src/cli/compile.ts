// Compiles the addon from the sources in native/, with the node-gyp that is at hand.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, relative, resolve } from 'node:path'

/** Where the addon is put, from the package's root; load.cts looks there first. */
export const binary = join('native', 'build', 'Release', 'evenkeel.node')

function onPath(program: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .filter(folder => folder !== '')
    .map(folder => join(folder, program))
    .find(path => existsSync(path))
}

/** What node-gyp needs and this machine has not. On Windows node-gyp itself looks for Visual Studio. */
export function missingTools(): string[] {
  if (process.platform === 'win32') return []
  const cxx = process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['c++', 'g++', 'clang++']
  const needs = { 'a C++ compiler': cxx, make: ['make', 'gmake'], python3: ['python3', 'python'] }
  return Object.entries(needs)
    .filter(([, names]) => !names.some(name => existsSync(name) || onPath(name) !== undefined))
    .map(([what]) => what)
}

/** A file of a package, as this package or the project in the working directory finds it. */
function findInPackages(file: string): string | undefined {
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      return createRequire(from).resolve(file)
    } catch {
      // Not a dependency here.
    }
  }
  return undefined
}

/** The folder with the headers of node-addon-api: EVENKEEL_NODE_ADDON_API, or a dependency. */
export function findNodeAddonApi(): string | undefined {
  if (process.env.EVENKEEL_NODE_ADDON_API) return process.env.EVENKEEL_NODE_ADDON_API
  const header = findInPackages('node-addon-api/napi.h')
  return header && dirname(header)
}

/** The script of a node-gyp: a dependency of this project, npm's own copy, or the one on the PATH. */
export function findNodeGyp(): string | undefined {
  const dependency = findInPackages('node-gyp/bin/node-gyp.js')
  if (dependency) return dependency
  const folder = dirname(process.execPath)
  const inNpm = join('node_modules', 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')
  return [
    process.env.npm_config_node_gyp, // npm says so, also under npx
    join(folder, '..', 'lib', inNpm),
    join(folder, inNpm), // Windows
    onPath('node-gyp')
  ].find(path => path !== undefined && existsSync(path))
}

/** A folder with include/node where Node's headers lie beside it: nothing to download then. */
export function findHeaders(): string | undefined {
  if (process.env.npm_config_nodedir) return process.env.npm_config_nodedir
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : undefined
}

export interface Compiled {
  readonly ok: boolean
  /** All that node-gyp printed. */
  readonly output: string
}

/** Compiles the binding.gyp of a folder, for this machine or, with the compilers in `env`, for another one. */
export function compile(
  folder: string,
  arch: string = process.arch,
  env: { readonly [name: string]: string } = {}
): Compiled {
  const gyp = findNodeGyp()
  if (gyp === undefined) return { ok: false, output: 'no node-gyp was found' }
  const headers = findHeaders()
  const found = findNodeAddonApi()
  // From that folder: make takes a path with a space for two, and folders above often have one.
  const addonApi = found && relative(folder, resolve(found))
  const args = ['configure', 'build', '--jobs=max', `--arch=${arch}`, ...(headers ? [`--nodedir=${headers}`] : [])]
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [gyp, ...args], {
    cwd: folder,
    env: { ...process.env, ...(addonApi && { EVENKEEL_NODE_ADDON_API: addonApi }), ...env },
    encoding: 'utf8',
    maxBuffer: 2 ** 28
  })
  return { ok: status === 0, output: error ? error.message : `${stdout}${stderr}` }
}
