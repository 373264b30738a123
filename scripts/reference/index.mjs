// docs/api.md from the docstrings of what src/index.ts and src/stream/index.ts export. usage: node scripts/reference [--check], after `npm ci` in
// this folder. With --check nothing is written, and it fails where the page is another.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Application } from 'typedoc'
import { page } from './page.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const path = join(root, 'docs/api.md')

const app = await Application.bootstrap({
  entryPoints: [join(root, 'src/index.ts'), join(root, 'src/stream/index.ts')],
  tsconfig: join(root, 'tsconfig.json'),
  skipErrorChecking: true, // the package's own compiler checks
  disableSources: true,
  excludePrivate: true,
  sort: ['source-order'],
  logLevel: 'Error'
})
const project = await app.convert()
if (!project || app.logger.hasErrors()) throw new Error('TypeDoc could not read src/index.ts and src/stream/index.ts')
const made = page(project, readFileSync(new URL('intro.md', import.meta.url), 'utf8'))
if (!process.argv.includes('--check')) writeFileSync(path, made)
else if (readFileSync(path, 'utf8') !== made) {
  console.error('docs/api.md is not what the docstrings say: run `npm run reference` and commit it')
  process.exitCode = 1
}
