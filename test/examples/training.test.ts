// examples/training.ts: its gradients, its bits, and that docs/training/ and the guide say what the results say.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { backend } from '../../dist/esm/index.js'
import { exp, log } from '../../examples/training/arithmetic.ts'
import { specs } from '../../examples/training/chart_specs.ts'
import { drawCharts } from '../../examples/training/charts.ts'
import { samples } from '../../examples/training/experiment.ts'
import { Activations, crossEntropy, Model } from '../../examples/training/model.ts'
import { normNames } from '../../examples/training/norms.ts'
import { hashOf, type Results } from '../../examples/training/results.ts'
import { readText } from '../../examples/training/text.ts'
import { train } from '../../examples/training/train.ts'
import { root } from '../support/process.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const results: Results = JSON.parse(read('docs/training/results.json'))

describe('behaviour: the model of examples/training.ts', () => {
  it.each(normNames)('%s: its gradients are those of finite differences', norm => {
    const model = new Model({ norm, seed: 1 })
    const all = new Activations(32, model.depth)
    all.load(readText().training, row => 1000 * row)
    const dlogits = new Float32Array(all.logits.length)
    const loss = () => {
      model.forward(all, true)
      return crossEntropy(all, dlogits)
    }
    loss()
    model.backward(all, dlogits)
    const gradients = model.parameters.map(({ gradient }) => gradient.slice())
    for (const [p, { value }] of model.parameters.entries()) {
      // Along the gradient itself the loss changes by its norm.
      const before = value.slice()
      const size = Math.hypot(...gradients[p])
      const h = 1e-3 / Math.max(1, size)
      const at = (step: number) => {
        for (let i = 0; i < value.length; i++) value[i] = before[i] + (step * gradients[p][i]) / size
        return loss()
      }
      const slope = (at(h) - at(-h)) / (2 * h)
      value.set(before)
      expect(Math.abs(slope - size), `parameter ${p}: ${slope}, ${size}`).toBeLessThan(0.02 * size + 1e-4)
    }
  })

  it('has exp and log within 2 ULP', () => {
    for (let x = -50; x <= 50; x += 0.0371) {
      expect(Math.abs(exp(x) / Math.exp(x) - 1)).toBeLessThan(2 ** -51)
      expect(Math.abs(log(Math.exp(x)) - x)).toBeLessThan(2 ** -51 * Math.max(1, Math.abs(x)))
    }
  })
})

describe('equality: examples/training.ts', () => {
  // A change of this hash is a change of the experiment: run it again, and write docs/training/ anew.
  const HASH = 'c0315cf1df1d3b042c1d847ef9fb0e03a4cf6e642da30ae4a11a541253cee9d8'

  it(`has the same losses everywhere, here by ${backend}`, () => {
    expect(hashOf(samples.map(train))).toBe(HASH)
  })
})

describe('behaviour: docs/training', () => {
  const installed = existsSync(join(root, 'examples/training/node_modules'))
  if (!installed) console.log('examples/training is not installed (npm ci in it): its charts are not drawn')

  it.skipIf(!installed)('has the charts of its results', async () => {
    const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-training-'))
    try {
      await drawCharts(results, pathToFileURL(`${folder}/`))
      for (const name of Object.keys(specs)) {
        expect(readFileSync(join(folder, `${name}.svg`), 'utf8') === read(`docs/training/${name}.svg`), name).toBe(true)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
