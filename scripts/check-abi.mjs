// Reads Linux binaries and fails where one needs more than every server has: libc and libm of glibc 2.28 (what Node.js
// itself asks for), or of musl. usage: check-abi.mjs FILE... (needs readelf, of binutils)
import { spawnSync } from 'node:child_process'

const newestGlibc = [2, 28]
const libraries = new Set(['libc.so.6', 'libm.so.6'])
// What the linker adds, and resolves to nothing where it is missing.
const optional = new Set(['_ITM_deregisterTMCloneTable', '_ITM_registerTMCloneTable', '__gmon_start__'])
const exported = new Set(['napi_register_module_v1', 'node_api_module_get_api_version_v1'])

function readelf(option, file) {
  const { status, stdout, stderr, error } = spawnSync('readelf', [option, '--wide', file], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`readelf ${option} ${file}: ${error?.message ?? stderr.trim()}`)
  return stdout
}

function isOldEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major < newestGlibc[0] || (major === newestGlibc[0] && minor <= newestGlibc[1])
}

/** What is wrong with one undefined symbol, or undefined. */
function fault(name, version) {
  if (version === undefined) {
    if (/^(napi|node_api)_/.test(name) || optional.has(name)) return undefined
    return `needs ${name}, of no library that it names`
  }
  // Checked forms of libc's functions (-D_FORTIFY_SOURCE) exist in glibc alone.
  if (/^__.*_chk$/.test(name)) return `needs ${name}, which musl has not`
  const glibc = /^GLIBC_([\d.]+)$/.exec(version)
  if (!glibc) return `needs ${name}@${version}`
  return isOldEnough(glibc[1]) ? undefined : `needs ${name}@${version}, newer than ${newestGlibc.join('.')}`
}

/** Everything that is wrong with a binary, and what it needs. */
function check(file) {
  const wrong = []
  const needed = [...readelf('--dynamic', file).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(match => match[1])
  for (const library of needed) if (!libraries.has(library)) wrong.push(`needs the library ${library}`)
  const versions = new Set()
  let calls = 0
  // Num: Value Size Type Bind Vis Ndx Name[@Version [(n)]]
  for (const line of readelf('--dyn-syms', file).split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (!/^\d+:$/.test(fields[0]) || fields[3] === 'SECTION' || fields[7] === undefined) continue
    const [name, version] = fields[7].split(/@+/)
    if (fields[6] === 'UND') {
      const found = fault(name, version)
      if (found) wrong.push(found)
      if (version) versions.add(version)
      else if (name.startsWith('napi_')) calls++
    } else if (!exported.has(name)) {
      wrong.push(`exports ${name}`)
    }
  }
  if (calls === 0) wrong.push('calls nothing of Node-API: not the addon')
  return { wrong, needed, versions: [...versions].sort() }
}

const files = process.argv.slice(2)
if (files.length === 0) throw new Error('usage: check-abi.mjs FILE...')
for (const file of files) {
  const { wrong, needed, versions } = check(file)
  for (const what of wrong) console.error(`${file}: ${what}`)
  if (wrong.length > 0) process.exitCode = 1
  else console.log(`${file}: ${needed.join(', ') || 'no library'}; ${versions.join(', ') || 'no versions'}`)
}
