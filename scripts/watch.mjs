// npm run test:watch: builds and runs tests, and does so again whenever a source or a test changes. The tests run what was built,
// which vitest's own watching does not see. Arguments go to vitest: npm run test:watch -- test/ops/layer_norm.test.ts
import { spawnSync } from 'node:child_process'
import { watch } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')

function run() {
  const node = args => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status === 0
  if (node([join(root, 'scripts', 'build.mjs')])) node([vitest, 'run', ...process.argv.slice(2)])
  console.log('waiting for changes in src, native and test; Ctrl-C ends')
}

let due
for (const folder of ['src', 'native', 'test']) {
  watch(join(root, folder), { recursive: true }, (_, name) => {
    if (/^build\b|\.tmp$/.test(String(name))) return
    clearTimeout(due)
    due = setTimeout(run, 200)
  })
}
run()
