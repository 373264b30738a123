// Stands in the place of native.ts in dist/js (`evenkeel/js`, browsers, edge runtimes): nothing is taken from Node.js.
import type { Native } from './types.js'

export const native: Native = {
  failure: 'this is evenkeel/js, the TypeScript implementation alone',
  failures: [],
  ordinary: true,
  forced: undefined,
  arch: '',
  cores: () => 1,
  threads: undefined
}
