// evenkeel info: what runs on this machine, and why.
import os from 'node:os'
import { parseArgs } from 'node:util'
import { printable } from '../backend/printable.js'
import { backendInfo } from '../index.js'
import { type Command, parsed } from './usage.js'

function cpuModel(): string {
  try {
    return os.cpus()[0]?.model.trim() ?? 'unknown'
  } catch {
    return 'unknown' // Deno without --allow-sys
  }
}

export const info: Command = {
  help: `Usage: evenkeel info

Prints the backend that runs and why, the backends of this machine, and why each missing one is missing.
`,
  async run(args) {
    parsed(() => parseArgs({ args: [...args], options: {} }))
    const about = backendInfo()
    const line = (name: string, value: string) => console.log(printable(`${`${name}:`.padEnd(14)} ${value}`))
    const isFallback = about.backend === 'js' && about.loadedFrom === undefined
    line('backend', `${about.backend} (${isFallback ? 'TypeScript: the same bits, several times slower' : about.why})`)
    if (isFallback && about.failures.length === 0) line('why', about.why)
    for (const { path, why } of about.failures) line('not loaded', `${path}: ${why}`)
    line('backends', about.backends.join(', '))
    for (const why of new Set(about.missing.map(one => one.why))) {
      const names = about.missing.filter(one => one.why === why).map(({ name }) => name)
      line(`no ${names.join(', ')}`, about.loadedFrom === undefined ? 'no native binary is loaded' : why)
    }
    line('threads', `${about.threads} (setNumThreads and EVENKEEL_THREADS change it)`)
    line('binary', about.loadedFrom ?? 'none')
    const detected = about.loadedFrom === undefined ? 'its features are not looked at' : 'no features detected'
    line('CPU', `${cpuModel()} (${about.cpuFeatures.join(', ') || detected})`)
    line('platform', `${process.platform}-${process.arch}, Node.js ${process.versions.node}`)
    if (about.flushesToZero) {
      line(
        'warning',
        'another library makes this thread flush subnormal numbers to zero; native kernels undo it, js cannot'
      )
    }
    return 0
  }
}
