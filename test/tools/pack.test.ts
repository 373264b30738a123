import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checksumOf } from '../../dist/esm/backend/load.cjs'
import { VERSION } from '../../dist/esm/version.js'
import { node, root } from '../support/process.ts'

/** Headings of a document, as links name them. */
const anchorsOf = (text: string) =>
  Array.from(text.matchAll(/^#+ (.*)$/gm), ([, title]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-')
  )

/** Links of the documents below a folder to files or headings that are not there. */
function deadLinks(folder: string): { links: number; dead: string[] } {
  const files = (readdirSync(folder, { recursive: true }) as string[]).filter(name => name.endsWith('.md'))
  const text = (path: string) => readFileSync(path, 'utf8').replace(/^```.*?^```$/gms, '')
  const dead: string[] = []
  let links = 0
  for (const file of files) {
    for (const [, link] of text(join(folder, file)).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path, anchor] = link.split('#')
      const target = path === '' ? join(folder, file) : join(folder, dirname(file), path)
      // A heading that stands twice is not what a link means: the second has another name.
      const isThere =
        existsSync(target) &&
        (anchor === undefined || anchorsOf(text(target)).filter(name => name === anchor).length === 1)
      if (!isThere) dead.push(`${file}: ${link}`)
      links++
    }
  }
  return { links, dead }
}

const read = (path: string) => readFileSync(join(root, path), 'utf8')

describe('behaviour: the npm package', () => {
  it('holds exactly the files that belong there, with links that lead somewhere, runs nothing when it is installed, and keeps its size', () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
    const run = (command: string, args: string[], cwd = root) =>
      spawnSync(command, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' })
    const check = (name: string) => {
      const { status, stdout, stderr } = run(process.execPath, ['scripts/check-tarball.mjs', join(folder, name)])
      return { status, output: stdout + stderr }
    }
    try {
      const packed = run('npm', ['pack', '--pack-destination', folder])
      expect(packed.status, packed.stderr).toBe(0)
      const tarball = readdirSync(folder)[0]
      expect(check(tarball)).toMatchObject({ status: 0, output: expect.stringMatching(/^\d+ files, \d+ bytes/) })

      run('tar', ['-xzf', tarball], folder)
      const { links, dead } = deadLinks(join(folder, 'package'))
      expect(dead).toEqual([])
      expect(links).toBeGreaterThan(500)
      writeFileSync(join(folder, 'package', 'stray.js'), '')
      // The header of a binary for Linux on x64.
      const header = Buffer.alloc(64)
      header.write('\x7fELF')
      header.writeUInt16LE(62, 18)
      mkdirSync(join(folder, 'package', 'prebuilds'), { recursive: true })
      writeFileSync(join(folder, 'package', 'prebuilds/linux-x64.node'), header)
      writeFileSync(
        join(folder, 'package', 'prebuilds/linux-x64.node.sha256'),
        checksumOf('linux-x64.node', Buffer.alloc(64))
      )
      writeFileSync(join(folder, 'package', 'prebuilds/darwin-x64.node.sha256'), '')
      rmSync(join(folder, 'package', 'NUMERICS.md'))
      run('tar', ['-czf', 'other.tgz', 'package'], folder)
      const { status, output } = check('other.tgz')
      expect(output).toContain('stray.js does not belong there')
      expect(output).toContain('NUMERICS.md is missing')
      expect(output).toContain('prebuilds/linux-x64.node.sha256 is of another binary')
      expect(output).toContain('prebuilds/darwin-x64.node.sha256 does not belong there')
      expect(status).toBe(1)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('has one version everywhere', () => {
    const { version } = JSON.parse(read('package.json'))
    expect(VERSION).toBe(version)
    expect(JSON.parse(read('native/binding.gyp')).targets[0].defines).toContain(`EVENKEEL_VERSION=${version}`)
    expect(read('CHANGELOG.md')).toContain(`## [${version}]`)
  })

  it('has release notes of each version: what CHANGELOG.md says of it, and of no other', () => {
    const notes = (...version: string[]) => node(['scripts/release-notes.mjs', ...version])
    const inOneLine = (text: string) => text.trim().replace(/\s+/g, ' ')
    const sections = [...read('CHANGELOG.md').matchAll(/^## \[(.+?)\].*\n((?:(?!## ).*\n)*)/gm)]
    expect(sections.length).toBeGreaterThan(1)
    for (const [, version, text] of sections) {
      expect(inOneLine(text)).not.toBe('')
      expect(inOneLine(notes(version).stdout)).toBe(inOneLine(text))
    }
    expect(notes().stdout).toBe(notes(VERSION).stdout)
    expect(notes('9.9.9')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('[9.9.9]') })
  })

  it('has a binding.gyp at its root that only depends on native/binding.gyp, and does not carry it', () => {
    // npm would run node-gyp for one in the tarball; check-tarball.mjs knows every file of that.
    const { targets } = JSON.parse(read('binding.gyp')) as { targets: { [key: string]: unknown }[] }
    expect(targets).toEqual([{ target_name: 'addon', type: 'none', dependencies: ['native/binding.gyp:evenkeel'] }])
    const { files, gypfile, scripts } = JSON.parse(read('package.json'))
    expect(files).not.toContain('binding.gyp')
    expect(gypfile).toBe(false)
    expect(Object.keys(scripts).filter(name => /^(pre|post)?install$|^prepare$/.test(name))).toEqual([])
  })
})
