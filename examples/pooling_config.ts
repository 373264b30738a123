// The options of a sentence-transformers model, from the files that stand beside its weights: 1_Pooling/config.json says how
// it pools, modules.json whether it normalises. npm run example examples/pooling_config.ts [FOLDER/]
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PoolingOptions } from '../dist/esm/index.js'

/** Its names and ours, in the order in which it concatenates several. */
const names = [
  ['cls_token', 'cls', 'cls'],
  ['max_tokens', 'max', 'max'],
  ['mean_tokens', 'mean', 'mean'],
  ['mean_sqrt_len_tokens', 'mean_sqrt_len_tokens', 'mean-sqrt'],
  ['weightedmean_tokens', 'weightedmean', 'weighted-mean'],
  ['lasttoken', 'lasttoken', 'last']
] as const

export function readPoolingOptions(folder: string): PoolingOptions {
  const read = (name: string) => JSON.parse(readFileSync(resolve(folder, name), 'utf8'))
  const config = read('1_Pooling/config.json') // a flag for each kind, or `pooling_mode` in newer versions
  const modules: string[] = read('modules.json').map(({ type }: { type: string }) => type.split('.').at(-1))
  if (modules.includes('Dense'))
    throw new Error('a dense layer stands between pooling and the rest: see docs/embeddings.md')
  const wanted = names.filter(
    ([flag, mode]) => config[`pooling_mode_${flag}`] ?? [config.pooling_mode].flat().includes(mode)
  )
  return { pooling: wanted.map(([, , pooling]) => pooling), normalize: modules.includes('Normalize') }
}

console.log(readPoolingOptions(process.argv[2] ?? fileURLToPath(new URL('model', import.meta.url))))
