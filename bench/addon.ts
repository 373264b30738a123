// Addons of the benchmark itself: one file of C or C++, compiled into a temporary folder when a run begins.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findHeaders } from '../dist/esm/cli/compile.js'

/** The path of what became of a source of this folder, or why there is none. */
export function compileAddon(source: string, folder: string, libraries: readonly string[] = []): Compiled {
  const headers = findHeaders()
  if (headers === undefined) return { why: "Node.js's headers are not beside it" }
  const isC = source.endsWith('.c')
  const compiler = isC ? (process.env.CC ?? 'cc') : (process.env.CXX ?? 'c++')
  const path = join(folder, source.replace(/\.\w+$/, '.node'))
  const args = [
    '-O3',
    '-shared',
    '-fPIC',
    ...(process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []),
    `-I${join(headers, 'include', 'node')}`,
    fileURLToPath(new URL(source, import.meta.url)),
    '-o',
    path,
    ...libraries
  ]
  const { status, error, stderr } = spawnSync(compiler, args, { encoding: 'utf8' })
  if (status === 0) return { path }
  const reason = /^.*\berror: (.*)$/m.exec(stderr ?? '')?.[1] ?? stderr?.trim().split('\n')[0]
  return { why: error ? error.message : `the compiler says ${reason}` }
}

export interface Compiled {
  readonly path?: string
  readonly why?: string
}
