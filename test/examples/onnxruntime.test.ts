// Tensors of float16 as onnxruntime-node and transformers.js have them. The program is that of npm run matrix, which runs it with
// each Node.js.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { node, root } from '../support/process.ts'

const folder = join(root, 'bench')
const installed = existsSync(join(folder, 'node_modules'))
if (!installed) console.log('bench is not installed (npm ci in it): the tests of tensors of onnxruntime are skipped')

describe('behaviour: tensors of onnxruntime-node and transformers.js', () => {
  it.skipIf(!installed)("takes a model's float16 output as it comes, and returns a tensor of its class", () => {
    const { stdout, stderr } = node(['matrix/consumer/tensors.mjs', pathToFileURL(root).href, folder])
    const array = 'Float16Array' in globalThis ? 'Float16Array' : 'Uint16Array'
    const like = { array, class: true, like: true, dims: [2, 3, 5], bits: true, embeddings: [2, 5] }
    const again = array === 'Uint16Array' ? { again: true } : {}
    expect(JSON.parse(stdout || stderr)).toEqual({ onnxruntime: like, transformers: like, ...again })
  })
})
