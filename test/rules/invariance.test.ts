// What the RMSNorm paper (arXiv 1910.07467) says in its table 1, as properties. A layer is s = x @ w and a norm of s. x and w
// are small integers, so that s and its changes are exact: what differs after the norm, the norm has done.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { batchNorm, groupNorm, instanceNorm, layerNorm, normalize, rmsNorm } from '../../dist/esm/index.js'
import { expectSameBits } from '../support/bits.ts'

// The same numbers in every run of the tests; another seed finds others.
const runs: fc.Parameters<unknown> = { seed: 1, numRuns: 200 }

interface Layer {
  readonly rows: number
  readonly inputs: number
  readonly outputs: number
  readonly x: number[]
  readonly w: number[]
}

const integers = (n: number, largest = 50) =>
  fc.array(fc.integer({ min: -largest, max: largest }), { minLength: n, maxLength: n })

const layers: fc.Arbitrary<Layer> = fc
  .tuple(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 2, max: 40 }))
  .chain(([rows, inputs, outputs]) =>
    fc.record({
      rows: fc.constant(rows),
      inputs: fc.constant(inputs),
      outputs: fc.constant(outputs),
      x: integers(rows * inputs),
      w: integers(inputs * outputs)
    })
  )

/** x @ w: integers below 2^24 / 16, or such a number times a power of two. */
function linear({ rows, inputs, outputs, x, w }: Layer): Float32Array {
  const s = new Float32Array(rows * outputs)
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < outputs; k++) {
      let sum = 0
      for (let i = 0; i < inputs; i++) sum += x[row * inputs + i] * w[i * outputs + k]
      s[row * outputs + k] = sum
    }
  }
  return s
}

interface Norm {
  /** Roundings: R of NUMERICS.md. */
  readonly roundings: number
  /** Whether the groups are columns. */
  readonly columns: boolean
  /** Table 1, in the order of `changes`. */
  readonly survives: readonly boolean[]
  run(s: Float32Array, layer: Layer): Float32Array
}

const [yes, no] = [true, false]
const norms: { readonly [name: string]: Norm } = {
  'no norm': { roundings: 0, columns: false, survives: [no, no, no, no, no, no], run: s => s },
  batchNorm: {
    roundings: 4,
    columns: true,
    survives: [yes, no, yes, yes, yes, no],
    run: (data, { rows, outputs }) => batchNorm({ data, dims: [rows, outputs] }, { training: true, eps: 0 }).data
  },
  layerNorm: {
    roundings: 4,
    columns: false,
    survives: [yes, yes, no, yes, no, yes],
    run: (s, { outputs }) => layerNorm(s, outputs, { eps: 0 })
  },
  rmsNorm: {
    roundings: 2,
    columns: false,
    survives: [yes, no, no, yes, no, yes],
    run: (s, { outputs }) => rmsNorm(s, outputs, { eps: 0 })
  },
  'rmsNorm, partial': {
    roundings: 2,
    columns: false,
    survives: [yes, no, no, yes, no, yes],
    run: (s, { outputs }) => rmsNorm(s, outputs, { eps: 0, partial: 0.5 })
  }
}

/** What is done to a layer, with a factor or a shift of each element's own where the change allows one. */
interface Change {
  readonly name: string
  readonly scales: boolean
  apply(layer: Layer, by: (i: number) => number): Layer
}

const changes: readonly Change[] = [
  { name: 'weight matrix re-scaling', scales: true, apply: (l, by) => ({ ...l, w: l.w.map(w => w * by(0)) }) },
  {
    // The same vector is added to the weights of every output.
    name: 'weight matrix re-centering',
    scales: false,
    apply: (l, by) => ({ ...l, w: l.w.map((w, i) => w + by(Math.floor(i / l.outputs))) })
  },
  {
    name: 'weight vector re-scaling',
    scales: true,
    apply: (l, by) => ({ ...l, w: l.w.map((w, i) => w * by(i % l.outputs)) })
  },
  { name: 'dataset re-scaling', scales: true, apply: (l, by) => ({ ...l, x: l.x.map(x => x * by(0)) }) },
  {
    name: 'dataset re-centering',
    scales: false,
    apply: (l, by) => ({ ...l, x: l.x.map((x, i) => x + by(i % l.inputs)) })
  },
  {
    name: 'single case re-scaling',
    scales: true,
    apply: (l, by) => ({ ...l, x: l.x.map((x, i) => x * by(Math.floor(i / l.inputs))) })
  }
]

/** Factors and shifts, one for each index. */
const cycle = (values: readonly number[]) => (i: number) => values[i % values.length]
const several = (value: fc.Arbitrary<number>) => fc.array(value, { minLength: 1, maxLength: 8 }).map(cycle)
const powersOfTwo = several(fc.integer({ min: -20, max: 20 }).map(e => 2 ** e))
const factors = several(fc.integer({ min: 1, max: 9 }))
const shifts = several(fc.integer({ min: -50, max: 50 }))

/** The indices of each group of a norm. */
function groupsOf({ columns }: Norm, { rows, outputs }: Layer): number[][] {
  const all = Array.from({ length: rows * outputs }, (_, i) => i)
  const group = (i: number) => (columns ? i % outputs : Math.floor(i / outputs))
  return Array.from({ length: columns ? outputs : rows }, (_, g) => all.filter(i => group(i) === g))
}

/** Throws where two results are further apart than twice the bound of NUMERICS.md: each is within it of the exact one. */
function expectWithinBound(norm: Norm, layer: Layer, a: Float32Array, b: Float32Array): void {
  for (const group of groupsOf(norm, layer)) {
    // The exact M of the bound is within the bound of this one.
    const largest = Math.max(...group.map(i => Math.abs(a[i]))) * (1 + 2 ** -20)
    for (const i of group) {
      if (Number.isNaN(a[i]) && Number.isNaN(b[i])) continue
      expect(Math.abs(a[i] - b[i])).toBeLessThanOrEqual(2 * (norm.roundings + 0.1) * 2 ** -24 * largest)
    }
  }
}

const named = Object.entries(norms)
const pairs = (survives: boolean) =>
  named.flatMap(([name, norm]) =>
    changes.filter((_, i) => norm.survives[i] === survives).map(change => ({ name, norm, change }))
  )

describe('equality: what table 1 calls invariant, scaled by powers of two', () => {
  for (const { name, norm, change } of pairs(true).filter(({ change }) => change.scales)) {
    it(`${name}: ${change.name} leaves every bit`, () => {
      fc.assert(
        fc.property(layers, powersOfTwo, (layer, by) => {
          const after = norm.run(linear(change.apply(layer, by)), layer)
          expectSameBits(after, norm.run(linear(layer), layer), change.name)
        }),
        runs
      )
    })
  }
})

describe('truth: what table 1 calls invariant, within twice the bound of NUMERICS.md', () => {
  for (const { name, norm, change } of pairs(true)) {
    it(`${name}: ${change.name}`, () => {
      fc.assert(
        fc.property(layers, change.scales ? factors : shifts, (layer, by) => {
          expectWithinBound(
            norm,
            layer,
            norm.run(linear(layer), layer),
            norm.run(linear(change.apply(layer, by)), layer)
          )
        }),
        runs
      )
    })
  }

  it('layerNorm is rmsNorm of centered rows', () => {
    fc.assert(
      fc.property(layers, layer => {
        const { outputs } = layer
        const s = linear(layer)
        // n * s - sum of s: integers, n times the centered row.
        const centered = s.map((value, i) => {
          const row = Math.floor(i / outputs) * outputs
          return outputs * value - s.subarray(row, row + outputs).reduce((sum, v) => sum + v, 0)
        })
        const bound = { ...norms.layerNorm, roundings: 3 } // the mean of R = 4 and R = 2
        expectWithinBound(bound, layer, layerNorm(s, outputs, { eps: 0 }), rmsNorm(centered, outputs, { eps: 0 }))
      }),
      runs
    )
  })

  it('rmsNorm is normalize by the 2-norm, times the root of n', () => {
    fc.assert(
      fc.property(layers, layer => {
        const { outputs } = layer
        const s = linear(layer)
        const scaled = normalize(s, outputs, { eps: 0, scale: Math.sqrt(outputs) })
        // R = 2 and R = 3, and one rounding of the scale to float32: 6 in all.
        expectWithinBound({ ...norms.rmsNorm, roundings: 3 }, layer, rmsNorm(s, outputs, { eps: 0 }), scaled)
      }),
      runs
    )
  })
})

describe('behaviour: what table 1 calls not invariant', () => {
  for (const { name, norm, change } of pairs(false)) {
    it(`${name}: ${change.name} changes outputs by more than 1 %`, () => {
      const survives = fc.property(layers, change.scales ? factors : shifts, (layer, by) => {
        const before = norm.run(linear(layer), layer)
        const after = norm.run(linear(change.apply(layer, by)), layer)
        const largest = before.reduce((most, y) => Math.max(most, Math.abs(y)), 0)
        return after.every((y, i) => !(Math.abs(y - before[i]) > 0.01 * largest))
      })
      // fast-check has to find a counterexample.
      expect(fc.check(survives, runs).failed).toBe(true)
    })
  }
})

describe('equality: what else leaves every bit', () => {
  const eps = fc.integer({ min: 1, max: 1000 }).map(n => n / 64)
  const scaledEps = fc.tuple(layers, eps, fc.integer({ min: -20, max: 20 }))
  /** Norms that have an eps. */
  const withEps: { [name: string]: (data: Float32Array, layer: Layer, eps: number) => Float32Array } = {
    layerNorm: (s, { outputs }, eps) => layerNorm(s, outputs, { eps }),
    rmsNorm: (s, { outputs }, eps) => rmsNorm(s, outputs, { eps }),
    batchNorm: (data, { rows, outputs }, eps) =>
      batchNorm({ data, dims: [rows, outputs] }, { training: true, eps }).data,
    groupNorm: (data, { rows, outputs }, eps) => groupNorm({ data, dims: [rows, outputs] }, 1, { eps }).data,
    instanceNorm: (data, { rows, outputs }, eps) => instanceNorm({ data, dims: [rows, 1, outputs] }, { eps }).data
  }

  it.each(Object.entries(withEps))('%s: data times 2^k and eps times 4^k', (name, norm) => {
    fc.assert(
      fc.property(scaledEps, ([layer, eps, k]) => {
        const s = linear(layer)
        const scaled = s.map(value => value * 2 ** k)
        expectSameBits(norm(scaled, layer, eps * 4 ** k), norm(s, layer, eps), name)
      }),
      runs
    )
  })

  it.each(Object.entries(withEps))('%s: the sign of the data comes out', (name, norm) => {
    const minus = (values: Float32Array) => values.map(value => -value)
    fc.assert(
      fc.property(layers, eps, (layer, eps) => {
        const s = linear(layer)
        const [y, opposite] = [norm(s, layer, eps), minus(norm(minus(s), layer, eps))]
        // The sign of a zero is lost where it is the mean: 0 - 0 is 0.
        const plain = (values: Float32Array) => values.map(value => value + 0)
        expectSameBits(plain(opposite), plain(y), name)
      }),
      runs
    )
  })

  it.each(['layerNorm', 'rmsNorm', 'groupNorm', 'instanceNorm'])('%s: a sample does not see the others', name => {
    fc.assert(
      fc.property(layers, layers, (layer, other) => {
        const s = linear(layer)
        const { outputs } = layer
        // The same first row in another batch.
        const values = linear(other)
        const batch = Float32Array.from({ length: s.length }, (_, i) =>
          i < outputs ? s[i] : values[i % values.length]
        )
        const first = (data: Float32Array) => withEps[name](data, layer, 1e-5).subarray(0, outputs)
        expectSameBits(first(batch), first(s), name)
      }),
      runs
    )
  })

  it('rmsNorm with partial: elements that are not counted change no other output', () => {
    fc.assert(
      fc.property(integers(32), integers(16), (row, others) => {
        const x = Float32Array.from(row)
        const changed = Float32Array.from([...row.slice(0, 16), ...others])
        const norm = (values: Float32Array) => rmsNorm(values, 32, { partial: 0.5 }).subarray(0, 16)
        expectSameBits(norm(changed), norm(x), 'counted elements')
      }),
      runs
    )
  })

  it.each([0.5, 1, 2, 3, Number.POSITIVE_INFINITY])('normalize, p = %s: data times 2^k', p => {
    fc.assert(
      fc.property(layers, fc.integer({ min: -20, max: 20 }), (layer, k) => {
        const s = linear(layer)
        const norm = (values: Float32Array) => normalize(values, layer.outputs, { p, eps: 0 })
        expectSameBits(norm(s.map(value => value * 2 ** k)), norm(s), `p = ${p}`)
      }),
      runs
    )
  })
})
