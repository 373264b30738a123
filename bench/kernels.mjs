// node bench/kernels.mjs <revision> [avx512|avx2] [part of the names of cases]: the kernels of the working tree against those of a
// revision, interleaved in one process (bench/kernels.cpp). Needs git, tar and g++; both revisions must have the same operands.
// With --write, all of them: into bench/results/kernels-<cpu>.md.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { positionals, values: options } = parseArgs({
  options: { write: { type: 'boolean', default: false } },
  allowPositionals: true
})
const [revision, isa, part] = positionals
if (!revision) throw new Error('kernels: revision expected a commit to compare with, got nothing')
if (options.write && isa) throw new RangeError('kernels: --write takes all instruction sets and cases')
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-kernels-'))
const isas = isa ? [isa] : ['avx512', 'avx2'].filter(name => readFileSync('/proc/cpuinfo', 'utf8').includes(name))

// The flags of native/binding.gyp.
const flags = '-std=c++17 -O3 -fno-exceptions -fno-rtti -ffp-contract=off -Wno-maybe-uninitialized'.split(' ')
const compile = (cwd, ...files) => execFileSync('g++', [...flags, ...files], { cwd, stdio: 'inherit' })

try {
  execFileSync('sh', ['-c', `git archive "${revision}" native | tar x -C "${folder}"`], { cwd: root })
  const native = join(folder, 'native')
  for (const name of readdirSync(native, { recursive: true })) {
    if (!/\.(h|cpp)$/.test(name)) continue
    const path = join(native, name)
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace(/\bnamespace evenkeel\b/g, 'namespace other').replaceAll('evenkeel::', 'other::'))
  }
  const objects = []
  for (const source of ['isa/avx512.cpp', 'isa/avx2.cpp', 'threads/pool.cpp', 'threads/sections.cpp']) {
    for (const from of [native, join(root, 'native')]) {
      if (!existsSync(join(from, source))) continue
      objects.push(join(folder, `${objects.length}.o`))
      compile(from, '-I.', '-c', source, '-o', objects.at(-1))
    }
  }
  compile(root, '-pthread', 'bench/kernels.cpp', ...objects, '-o', join(folder, 'kernels'))
  const commit = execFileSync('git', ['rev-parse', '--short', revision], { cwd: root, encoding: 'utf8' }).trim()
  const cpu = os.cpus()[0].model.trim()
  const lines = [
    `# Kernels: ${cpu}`,
    '',
    `\`node bench/kernels.mjs ${commit} --write\`; medians of interleaved samples, one thread.`
  ]
  const print = (...some) => {
    lines.push(...some)
    console.log(some.join('\n'))
  }
  for (const name of isas) {
    print('', `## ${name}, against ${commit}`, '')
    print('| kernel | microseconds | copies before | copies now | now / before |', '| --- | --: | --: | --: | --: |')
    // Line by line, as they come: it takes minutes.
    const child = spawn(join(folder, 'kernels'), [name, ...(part ? [part] : [])], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const ended = once(child, 'close')
    for await (const line of createInterface({ input: child.stdout })) print(line)
    const [status] = await ended
    if (status !== 0) throw new Error(`kernels ended with ${status} (have both revisions the same operands?)`)
  }
  if (options.write) {
    const file = `kernels-${cpu
      .toLowerCase()
      .replace(/\([^)]*\)/g, ' ')
      .replace(/[^a-z0-9]+/g, '-')}.md`
    writeFileSync(join(root, 'bench/results', file), `${lines.join('\n')}\n`)
    console.log(`\nwritten: bench/results/${file}`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
