// evenkeel verify: every backend against the TypeScript one, bit for bit, and all against the golden hashes.
import { existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { backends, tables } from '../backend/choice.js'
import { backendInfo } from '../backend/info.js'
import { BACKEND_NAMES, type BackendName } from '../backend/types.js'
import { differences, type Golden, goldenOf, lines } from '../cases/index.js'
import { type Command, parsed, UsageError } from './usage.js'

const golden: { readonly [op: string]: Golden } = JSON.parse(
  readFileSync(new URL('../../../test/golden.json', import.meta.url), 'utf8')
)

/**
 * What the CPU should have, read independently of the addon where the system says it (Linux); elsewhere what the addon
 * detected.
 */
function expectedBackends(): BackendName[] {
  if (process.arch === 'arm64') return ['neon'] // the package's binary has no other there
  if (process.arch !== 'x64') return ['portable']
  const flags = existsSync('/proc/cpuinfo')
    ? new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' '))
    : new Set(backendInfo().cpuFeatures.flatMap(name => (name === 'avx2' ? [name, 'fma'] : [name])))
  const expected: BackendName[] = []
  if (flags.has('avx512f') && flags.has('avx2') && flags.has('fma')) expected.push('avx512')
  if (flags.has('avx2') && flags.has('fma')) expected.push('avx2')
  return [...expected, 'portable']
}

function readName(name: string): BackendName {
  const known = BACKEND_NAMES.find(one => one === name)
  if (!known)
    throw new UsageError(`--expect expected names of ${BACKEND_NAMES.join(', ')}, got ${JSON.stringify(name)}`)
  return known
}

export const verify: Command = {
  help: `Usage: evenkeel verify

Runs every op's golden cases on every backend of this machine. Compares each with the TypeScript backend, bit for bit, and
all with the golden hashes. Exit code 1 when anything differs, or when the CPU has a backend that did not load.

Options:
      --expect <list>  the native backends that must be there, e.g. avx2,portable; default: those of the CPU
  -h, --help           this text
`,
  async run(args) {
    const { values } = parsed(() => parseArgs({ args: [...args], options: { expect: { type: 'string' } } }), ['expect'])
    const expected = values.expect?.split(',').map(readName) ?? expectedBackends()
    const typescript = tables[tables.length - 1]
    let wrong = 0
    for (const { name, op, cases } of lines) {
      for (const table of tables) {
        const found = table === typescript ? [] : [...differences(op, table.float32, typescript.float32, cases())]
        const hashes = goldenOf(op, table.float32, cases())
        const same = hashes.output === golden[name]?.output && hashes.statistics === golden[name]?.statistics
        const agrees =
          table === typescript ? '' : found.length === 0 ? 'same bits as js, ' : `${found.length} DIFFERENCES, `
        console.log(
          `${name.padEnd(29)} ${table.name.padEnd(9)} ${agrees}${same ? 'golden hashes agree' : 'GOLDEN HASHES DIFFER'}`
        )
        for (const difference of found.slice(0, 5)) console.log(`  ${table.name} against js: ${difference}`)
        if (found.length > 0 || !same) wrong++
      }
    }
    const compared = tables.length - 1
    console.log(`compared ${compared} native ${compared === 1 ? 'backend' : 'backends'} with the TypeScript one`)
    const absent = expected.filter(name => !backends.includes(name))
    for (const name of absent) {
      console.log(`${name} is MISSING: ${backendInfo().missing.find(one => one.name === name)?.why}`)
    }
    if (backendInfo().flushesToZero) {
      console.log('This thread flushes subnormal numbers to zero (another library did that): js is not itself here.')
    }
    return wrong > 0 || absent.length > 0 ? 1 : 0
  }
}
