// What turns gradients into other weights: plain gradient descent (SGD), and Adam (Kingma & Ba 2014, arXiv 1412.6980).
import type { Parameter } from './norms.ts'

export type Step = (rate: number) => void

export const optimisers = {
  sgd:
    (parameters: readonly Parameter[]): Step =>
    rate => {
      for (const { value, gradient } of parameters) {
        for (let i = 0; i < value.length; i++) value[i] -= rate * gradient[i]
      }
    },

  adam(parameters: readonly Parameter[]): Step {
    const [beta1, beta2, eps] = [0.9, 0.99, 1e-8]
    const moments = parameters.map(({ value }) => ({
      first: new Float32Array(value.length),
      second: new Float32Array(value.length)
    }))
    // beta ** step as running products: Math.pow is not the same in every engine.
    let [power1, power2] = [1, 1]
    return rate => {
      power1 *= beta1
      power2 *= beta2
      const [unbias1, unbias2] = [1 / (1 - power1), 1 / (1 - power2)]
      for (const [p, { value, gradient }] of parameters.entries()) {
        const { first, second } = moments[p]
        for (let i = 0; i < value.length; i++) {
          const g = gradient[i]
          first[i] += (1 - beta1) * (g - first[i])
          second[i] += (1 - beta2) * (g * g - second[i])
          value[i] -= (rate * first[i] * unbias1) / (Math.sqrt(second[i] * unbias2) + eps)
        }
      }
    }
  }
}
export type OptimiserName = keyof typeof optimisers

/** The factor that brings all gradients together to a norm of at most `limit`. */
export function clipping(parameters: readonly Parameter[], limit: number): number {
  let sum = 0
  for (const { gradient } of parameters) for (const g of gradient) sum += g * g
  const norm = Math.sqrt(sum)
  return norm > limit ? limit / norm : 1
}
