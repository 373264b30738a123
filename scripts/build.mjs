// Builds what is missing or out of date: the TypeScript and, where there is a toolchain, the addon. Without a toolchain
// that is no failure: everything runs on the TypeScript kernels. --force builds all anew.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const force = process.argv.includes('--force')
const require = createRequire(import.meta.url)

// The four trees below dist/: for Node.js and without anything of it, as ES modules and as CommonJS. The types of the latter
// two are those of the first two: copies would only add to the package's size.
const trees = [
  { folder: 'esm', project: 'tsconfig.json' },
  { folder: 'cjs', project: 'tsconfig.cjs.json' },
  { folder: 'js/esm', project: 'tsconfig.js.json' },
  { folder: 'js/cjs', project: 'tsconfig.js.cjs.json' }
]

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

function fail(what, output) {
  console.error(`${output.trimEnd().split('\n').slice(-40).join('\n')}\nevenkeel: ${what} failed`)
  process.exit(1)
}

function buildTypeScript() {
  const stamp = join('dist', 'built')
  const sources = ['src', 'package.json', 'scripts/build.mjs', ...trees.map(({ project }) => project)]
  if (isFresh(stamp, sources)) return
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  for (const { folder, project } of trees) {
    // Comments belong to the types, where editors look for them; in the code they would be a tenth of the package.
    const code = ['--removeComments', '--declaration', 'false']
    for (const flags of folder.startsWith('js/') ? [code] : [code, ['--emitDeclarationOnly']]) {
      const result = spawnSync(process.execPath, [tsc, '-p', project, ...flags], { cwd: root, encoding: 'utf8' })
      if (result.status !== 0) fail(`tsc -p ${project}`, result.stdout + result.stderr)
    }
    const path = join(root, 'dist', folder)
    // The compiler has read native.none.ts as './native.js' (moduleSuffixes); it goes where Node.js looks for that.
    if (folder.startsWith('js/'))
      renameSync(join(path, 'backend', 'native.none.js'), join(path, 'backend', 'native.js'))
    if (folder.endsWith('cjs')) writeFileSync(join(path, 'package.json'), '{ "type": "commonjs" }\n')
  }
  writeFileSync(join(root, stamp), '')
}

async function buildAddon() {
  // Compiled a moment ago: the same that `npx evenkeel build` runs.
  const { binary, compile, missingTools } = await import('../dist/esm/cli/compile.js')
  const sources = readdirSync(join(root, 'native')).filter(name => !/^(build|test|CMake.*|package\.json)$/.test(name))
  if (
    isFresh(
      binary,
      sources.map(name => join('native', name))
    )
  )
    return
  const without = what => console.log(`evenkeel: no native build (${what}); the TypeScript kernels give the same bits`)
  const missing = missingTools()
  if (missing.length > 0) return without(`not on the PATH: ${missing.join(', ')}`)
  console.log('evenkeel: building the native kernels')
  const { ok, output } = compile(join(root, 'native'))
  // make leaves the binary as it was where a change does not reach it.
  if (ok) return utimesSync(join(root, binary), new Date(), new Date())
  const lacks = /gyp ERR! find (VS|Python)|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.exec(output)
  if (!lacks) fail('the native build', output)
  without(`node-gyp found no ${lacks[1] ?? "Node's headers, and no network to fetch them"}`)
}

buildTypeScript()
await buildAddon()
