// npx tsx bench/parts.ts [--write]: what the parts of kernels take of a row that is in the first cache (bench/parts.cpp), on each
// vector instruction set of this machine. Needs g++. With --write also into bench/results/parts-<cpu>.md.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { fileNameOf } from './machine.ts'

const { values: options } = parseArgs({ options: { write: { type: 'boolean', default: false } } })
const cpu = os.cpus()[0]?.model.trim() ?? 'unknown'
const flags = readFileSync('/proc/cpuinfo', 'utf8')
const isas = { avx512: [], avx2: ['-DEVENKEEL_PARTS_AVX2'] }
const source = fileURLToPath(new URL('parts.cpp', import.meta.url))
const threads = ['pool', 'sections'].map(name =>
  fileURLToPath(new URL(`../native/threads/${name}.cpp`, import.meta.url))
)
const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-parts-'))
const lines = [
  `# Parts of kernels: ${cpu}`,
  '',
  '`npx tsx bench/parts.ts --write`: one row of 768 in the first cache, medians; copies: of one row there.'
]
try {
  for (const [isa, define] of Object.entries(isas)) {
    if (!flags.includes(isa)) continue
    const program = join(folder, isa)
    // The flags of native/binding.gyp.
    const compile = '-std=c++17 -O3 -fno-exceptions -fno-rtti -ffp-contract=off -w'.split(' ')
    execFileSync('g++', [...compile, ...define, '-pthread', source, ...threads, '-o', program], { stdio: 'inherit' })
    const table = execFileSync(program, { encoding: 'utf8' }).trim()
    lines.push('', `## ${isa}`, '', '| part | ns | copies |', '| --- | --: | --: |', table)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(lines.join('\n'))
if (options.write) {
  writeFileSync(fileURLToPath(new URL(`results/parts-${fileNameOf(cpu)}.md`, import.meta.url)), `${lines.join('\n')}\n`)
}
