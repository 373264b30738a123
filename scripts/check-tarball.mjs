// Checks a tarball of the npm package: its files, no more and no fewer; each binary of the platform that its name says,
// with its checksum; no script that runs at install time; its size. usage: check-tarball.mjs FILE.tgz [--prebuilds=all|PLATFORM,...]
// Without --prebuilds any of the binaries may be there.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import load from '../dist/esm/backend/load.cjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const budget = 2_000_000 // bytes

/** Files below a folder of the repository, from that folder. */
const below = folder =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name).slice(join(root, folder).length + 1))
    .map(path => path.replaceAll('\\', '/'))

/** What must be in the tarball besides binaries: each source file has its place, and nothing else has. */
function expectedFiles() {
  const files = [
    'package.json',
    'README.md',
    'LICENSE',
    'NUMERICS.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'test/golden.json'
  ]
  for (const path of below('docs')) if (!path.endsWith('.json') && path !== 'releasing.md') files.push(`docs/${path}`)
  // Of the results those that the README shows: the report of a machine's best backend has a column of AVX2.
  for (const path of below('bench/results'))
    if (/(?<!-avx2)\/.*\.(md|svg)$/.test(path)) files.push(`bench/results/${path}`)
  for (const path of below('src')) {
    const [, stem, none, kind] = /^(.*?)(\.none)?\.(ts|cts)$/.exec(path)
    if (none) continue
    const [js, types] = kind === 'cts' ? ['.cjs', '.d.cts'] : ['.js', '.d.ts']
    const forNode = ['backend/native', 'backend/load', 'backend/printable', 'stream/index', 'version'].includes(stem)
    const command = /^(cli|cases|corpus)\//.test(stem)
    // Kernels that no type of what can be imported names.
    const bare = /^kernels\/(?!(arrays|elements|index|normalize|operands|signatures)$)/.test(stem)
    const trees = command ? ['esm'] : forNode ? ['esm', 'cjs'] : ['esm', 'cjs', 'js/esm', 'js/cjs']
    for (const tree of trees) {
      files.push(`dist/${tree}/${stem}${js}`)
      // Nobody can import the commands, their cases and bare kernels: types would be for nothing.
      if (!tree.startsWith('js/') && !command && !bare) files.push(`dist/${tree}/${stem}${types}`)
    }
  }
  for (const tree of ['js/esm', 'js/cjs']) files.push(`dist/${tree}/backend/native.js`)
  for (const tree of ['cjs', 'js/cjs']) files.push(`dist/${tree}/package.json`)
  for (const path of below('native')) {
    if (/^(build|test)\/|^CMake(Lists\.txt|Presets\.json)$|^package\.json$/.test(path)) continue
    files.push(`native/${path}`)
  }
  return files
}

/** The platform of a binary, as its header says. */
function platformOf(file) {
  if (file.readUInt32BE(0) === 0x7f454c46) {
    return `linux-${{ 62: 'x64', 183: 'arm64' }[file.readUInt16LE(18)]}`
  }
  if (file.readUInt32LE(0) === 0xfeedfacf) {
    return `darwin-${{ 16777223: 'x64', 16777228: 'arm64' }[file.readUInt32LE(4)]}`
  }
  if (file.toString('latin1', 0, 2) === 'MZ') {
    return `win32-${{ 34404: 'x64', 43620: 'arm64' }[file.readUInt16LE(file.readUInt32LE(0x3c) + 4)]}`
  }
  return 'no platform that it is made for'
}

function check(tarball, prebuilds) {
  const wrong = []
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-tarball-'))
  try {
    const { status, stderr } = spawnSync('tar', ['-xzf', tarball, '-C', folder], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`tar: ${stderr}`)
    const unpacked = join(folder, 'package')
    const files = readdirSync(unpacked, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry =>
        join(entry.parentPath ?? entry.path, entry.name)
          .slice(unpacked.length + 1)
          .replaceAll('\\', '/')
      )
      .sort()
    const isBinary = name => name.endsWith('.node')
    const checksums = files.filter(isBinary).map(name => `${name}.sha256`)
    const expected = new Set([...expectedFiles(), ...checksums])
    for (const name of files) if (!isBinary(name) && !expected.has(name)) wrong.push(`${name} does not belong there`)
    for (const name of expected) if (!files.includes(name)) wrong.push(`${name} is missing`)

    // The types that are left out are ones that no other names.
    for (const name of files.filter(name => name.endsWith('.d.ts'))) {
      for (const [, path] of readFileSync(join(unpacked, name), 'utf8').matchAll(
        /(?:from |import\()'(\.[^']+)\.js'/g
      )) {
        const types = join(dirname(name), `${path}.d.ts`).replaceAll('\\', '/')
        if (!files.includes(types)) wrong.push(`${name} names ${types}, which is missing`)
      }
    }

    const binaries = files.filter(isBinary)
    const wanted = prebuilds?.map(platform => `prebuilds/${platform}.node`)
    for (const name of wanted ?? []) if (!binaries.includes(name)) wrong.push(`${name} is missing`)
    for (const name of binaries) {
      if (wanted && !wanted.includes(name)) wrong.push(`${name} does not belong there`)
      const bytes = readFileSync(join(unpacked, name))
      const platform = platformOf(bytes)
      if (name !== `prebuilds/${platform}.node`) wrong.push(`${name} is of ${platform}`)
      const checksum = `${name}.sha256`
      const isOf = () => readFileSync(join(unpacked, checksum), 'utf8') === load.checksumOf(`${platform}.node`, bytes)
      if (files.includes(checksum) && !isOf()) wrong.push(`${checksum} is of another binary`)
    }
    const { scripts = {} } = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'))
    for (const name of ['preinstall', 'install', 'postinstall', 'prepublish', 'prepare']) {
      if (name in scripts) wrong.push(`package.json has the script ${name}`)
    }
    const { size } = statSync(tarball)
    // The budget is for all platforms. What cannot be built here is taken to be as large as Linux's.
    const absent = load.PLATFORMS.filter(platform => !binaries.includes(`prebuilds/${platform}.node`))
    const estimated = absent.reduce((sum, platform) => {
      const linux = join(unpacked, 'prebuilds', `linux-${platform.split('-')[1]}.node`)
      return sum + (existsSync(linux) ? gzipSync(readFileSync(linux), { level: 9 }).length : 0)
    }, size)
    if (estimated >= budget)
      wrong.push(`${estimated} bytes with the binaries of all platforms, expected less than ${budget}`)
    const all = absent.length > 0 ? ` (about ${estimated} with the binaries of all platforms)` : ''
    console.log(`${files.length} files, ${size} bytes${all} of ${budget}; binaries: ${binaries.join(', ') || 'none'}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
  return wrong
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { prebuilds: { type: 'string' } } })
if (positionals.length !== 1 || !existsSync(positionals[0])) {
  throw new Error('usage: check-tarball.mjs FILE.tgz [--prebuilds=all|PLATFORM,...]')
}
const wrong = check(positionals[0], values.prebuilds === 'all' ? load.PLATFORMS : values.prebuilds?.split(','))
for (const what of wrong) console.error(`${positionals[0]}: ${what}`)
if (wrong.length > 0) process.exitCode = 1
