// Finds and loads the native binary. CommonJS on purpose: the ESM and the CommonJS build run the same few lines, with
// __dirname and require in both.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Backend, BackendName } from './backend.js' with { 'resolution-mode': 'import' }

/** What the native binary exports. */
export interface Addon {
  /** Supported here, best first. */
  readonly backends: readonly Backend[]
  /** In the binary, but not supported by this CPU or operating system. */
  readonly unsupported: readonly BackendName[]
  readonly cpuFeatures: readonly string[]
  /** Memory for the operands of prepared calls; undefined where the runtime allows no memory of the addon. */
  readonly arena: Float32Array | undefined
}

export interface Loaded {
  readonly addon?: Addon
  readonly path?: string
  /** Why there is no addon. */
  readonly failure?: string
}

/** Only a missing binary is an ordinary reason to go on without one; any other failure is told in full. */
export function loadAddon(): Loaded {
  // src/ lies one folder below the package's root, dist/esm/ and dist/cjs/ two.
  const paths = ['..', '../..'].map(up => join(__dirname, up, 'build', 'Release', 'evenkeel.node'))
  const path = paths.find(existsSync)
  if (path === undefined) return { failure: `no native binary for ${process.platform}-${process.arch} was found` }
  try {
    return { addon: require(path), path }
  } catch (error) {
    return { failure: `${path} did not load: ${(error as Error).message}` }
  }
}
