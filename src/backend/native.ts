// What the library takes from Node.js: the native binary, two environment variables, one warning. In dist/js
// native.none.ts stands in its place.

import { VERSION } from '../version.js'
import { loadAddon, usableCores } from './load.cjs'
import { printable } from './printable.js'
import type { Native } from './types.js'

/** The state that the ESM and the CommonJS copy share. */
interface Shared {
  readonly forced: string | undefined
  warned: boolean
}

/** A variable of the environment. Under Deno without --allow-env there is none; loadAddon says so. */
function variable(name: string): string | undefined {
  try {
    return process.env[name] || undefined
  } catch {
    return undefined
  }
}

function sharedState(): Shared {
  const globals = globalThis as { [key: symbol]: Shared | undefined }
  const key = Symbol.for('evenkeel')
  const state = globals[key] ?? { forced: variable('EVENKEEL_BACKEND'), warned: false }
  globals[key] = state
  return state
}

const shared = sharedState()
const { allocUnsafeSlow } = Buffer

export const native: Native = {
  ...loadAddon(VERSION),
  forced: shared.forced,
  arch: process.arch,
  cores: () => usableCores(),
  threads: variable('EVENKEEL_THREADS'),
  allocate: bytes => {
    const { buffer, byteLength } = allocUnsafeSlow(bytes)
    return byteLength === bytes && buffer.byteLength === bytes ? (buffer as ArrayBuffer) : undefined
  }
}

if (!native.addon && !native.ordinary && native.forced === undefined && !shared.warned) {
  shared.warned = true
  process.emitWarning(printable(`running on the TypeScript backend: ${native.failure}`), { type: 'evenkeel' })
}
