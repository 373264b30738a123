// How long a norm takes in the model of the experiment, and a whole step of training: on this machine, in one thread.
import os from 'node:os'
import { normal, random } from '../../dist/esm/cases/data.js'
import { backend } from '../../dist/esm/index.js'
import { Activations, CONTEXT, crossEntropy, Model, WIDTH } from './model.ts'
import { makeNorm, type NormName, normNames } from './norms.ts'
import { optimisers } from './optimisers.ts'
import { readText } from './text.ts'

/** Microseconds. */
export interface Times {
  readonly machine: { readonly cpu: string; readonly node: string; readonly backend: string }
  readonly norms: {
    readonly [norm in NormName]: { readonly forward: number; readonly backward: number; readonly step: number }
  }
}

const BATCH = 32
/** Norms in the model, of six blocks and the end. */
export const NORMS = 7

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]

/** Microseconds of the CPU's time that a call takes: while something else runs, none pass. */
function timeOf(call: () => void, calls: number): number {
  const start = process.cpuUsage()
  for (let i = 0; i < calls; i++) call()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / calls
}

/** A step of gradient descent at the rate 0: the time is that of any other. */
function stepOf(norm: NormName): () => void {
  const model = new Model({ norm, seed: 1 })
  const update = optimisers.sgd(model.parameters)
  const all = new Activations(BATCH, model.depth)
  const dlogits = new Float32Array(all.logits.length)
  const { training } = readText()
  all.load(training, row => row * CONTEXT)
  return () => {
    model.forward(all, true)
    crossEntropy(all, dlogits)
    model.backward(all, dlogits)
    update(0)
  }
}

/** Medians over rounds, in each of which every norm has its turn: what slows the machine slows all of them. */
export function measure(): Times {
  const next = random(1)
  const x = Float32Array.from({ length: BATCH * WIDTH }, () => normal(next))
  const places = { y: new Float32Array(x.length), dy: new Float32Array(x.length) }
  const candidates = normNames.map(name => {
    const norm = makeNorm[name](WIDTH)
    const forward = () => norm.forward(x, places.y, true)
    const backward = () => {
      places.dy.set(x)
      norm.backward(places.dy, x)
    }
    return { name, forward, backward, step: stepOf(name), times: { forward: [], backward: [], step: [] } as Rounds }
  })
  for (let round = 0; round < 31; round++) {
    for (const { forward, backward, step, times } of candidates) {
      times.forward.push(timeOf(forward, 300))
      times.backward.push(timeOf(backward, 300))
      times.step.push(timeOf(step, 5))
    }
  }
  const medians = candidates.map(({ name, times: { forward, backward, step } }) => [
    name,
    { forward: median(forward), backward: median(backward), step: median(step) }
  ])
  const machine = { cpu: os.cpus()[0].model, node: process.version, backend }
  return { machine, norms: Object.fromEntries(medians) }
}

interface Rounds {
  readonly forward: number[]
  readonly backward: number[]
  readonly step: number[]
}

/** The part of a step that its norms take. */
export const shareOf = ({ forward, backward, step }: Times['norms'][NormName]) => (NORMS * (forward + backward)) / step
