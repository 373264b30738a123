// The gradients held against finite differences of a plain forward in float64, which knows no formula of a gradient.
import { expect } from 'vitest'

export type Numbers = readonly number[]

/** The step: a power of two, so that x + h is exact. */
const H = 2 ** -12

/** What the loss, the sum of dy * y, depends on. */
export interface Parameters {
  readonly [name: string]: ArrayLike<number>
}

/**
 * Fails unless gradients are those of the loss. The central difference is D(h) = L' + c * h^2 + O(h^4), so D(2h) - D(h) is
 * 3 * c * h^2: that difference is the tolerance for the h^4 that is left once a third of it is taken off. Beside it: the
 * rounding of the loss, at most `roundings` of each of its terms, divided by h, and that of the gradient to float32.
 */
export function expectDifferences(
  forward: (parameters: { readonly [name: string]: Numbers }) => Numbers,
  dy: ArrayLike<number>,
  parameters: Parameters,
  gradients: { readonly [name: string]: Float32Array | undefined },
  what: string
): void {
  const plain = Object.fromEntries(Object.entries(parameters).map(([name, values]) => [name, Array.from(values)]))
  const terms = (y: Numbers) => y.map((value, i) => dy[i] * value)
  const magnitude = terms(forward(plain)).reduce((sum, value) => sum + Math.abs(value), 0)
  const roundings = 64 + dy.length
  const rounding = (roundings * 2 ** -53 * magnitude) / H
  for (const [name, gradient] of Object.entries(gradients)) {
    if (!gradient) expect.fail(`${what}: no gradient of ${name}`)
    expect(gradient.length, name).toBe(plain[name].length)
    for (let i = 0; i < gradient.length; i++) {
      const loss = (step: number) =>
        terms(forward({ ...plain, [name]: plain[name].with(i, plain[name][i] + step) })).reduce(
          (sum, value) => sum + value,
          0
        )
      const difference = (h: number) => (loss(h) - loss(-h)) / (2 * h)
      const [one, two] = [difference(H), difference(2 * H)]
      const error: number = Math.abs(gradient[i] - (one - (two - one) / 3))
      const tolerance: number = Math.abs(two - one) + rounding + 2 ** -24 * Math.abs(gradient[i])
      if (!(error <= tolerance)) {
        expect.fail(`${what}: gradient of ${name}[${i}] is ${gradient[i]}, off by ${error}, tolerance ${tolerance}`)
      }
    }
  }
}

const sum = (values: Numbers) => values.reduce((total, value) => total + value, 0)
const squares = (values: Numbers) => sum(values.map(value => value * value))

/** A group, normalised by its mean and variance. */
export function centered(values: Numbers, eps: number): number[] {
  const mean = sum(values) / values.length
  const deviations = values.map(value => value - mean)
  const root = Math.sqrt(squares(deviations) / values.length + eps)
  return deviations.map(value => value / root)
}

/** A group, divided by the root mean square of its first elements. */
export function scaled(values: Numbers, eps: number, counted = values.length): number[] {
  const root = Math.sqrt(squares(values.slice(0, counted)) / counted + eps)
  return values.map(value => value / root)
}

/** A group, divided as a rule of normalize says. */
export function divided(values: Numbers, rule: string, eps: number): number[] {
  const square = squares(values)
  const by = {
    clamp: Math.max(Math.sqrt(square), eps),
    'clamp-square': Math.sqrt(Math.max(square, eps)),
    'add-square': Math.sqrt(square + eps),
    'mean-square': Math.sqrt(square / values.length + eps),
    zero: Math.sqrt(square) || 1
  }[rule] as number
  return values.map(value => value / by)
}

/** Applies a map to every row. */
export function eachRow(values: Numbers, size: number, map: (row: Numbers) => Numbers): number[] {
  return Array.from({ length: values.length / size }, (_, row) =>
    map(values.slice(row * size, (row + 1) * size))
  ).flat()
}

/** Applies a map to the elements of every group, by their places. */
export function eachGroup(values: Numbers, groups: readonly Numbers[], map: (group: Numbers) => Numbers): number[] {
  const result = [...values]
  for (const places of groups) {
    const mapped = map(places.map(at => values[at]))
    places.forEach((at, i) => {
      result[at] = mapped[i]
    })
  }
  return result
}
