// The notes of a release: what CHANGELOG.md says below the heading of a version. usage: release-notes.mjs [VERSION], by
// default that of package.json. Fails where there is no such heading, or nothing below it.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const read = name => readFileSync(fileURLToPath(new URL(`../${name}`, import.meta.url)), 'utf8')

const version = process.argv[2] ?? JSON.parse(read('package.json')).version
const [section] = read('CHANGELOG.md')
  .split(/^## /m)
  .filter(text => text.startsWith(`[${version}]`))
const notes = section?.slice(section.indexOf('\n')).trim()
if (!notes) {
  console.error(`CHANGELOG.md says nothing below "## [${version}]"`)
  process.exit(1)
}
// GitHub shows single line breaks of release notes as such: lines that were only wrapped are joined.
console.log(notes.replace(/\n +(?=\S)/g, ' '))
