// The operator test cases of ONNX that lie beside the repository (../shared/data): read there, never copied; tests report
// themselves skipped where they are absent.
import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

interface StoredTensor {
  readonly dims: number[]
  readonly dtype: string
  readonly data: string
}

interface StoredCase {
  readonly name: string
  readonly op: string
  readonly opset: number
  readonly resolved: { readonly [attribute: string]: number | number[] | undefined }
  readonly node_inputs: readonly string[]
  readonly inputs: readonly (StoredTensor & { readonly name: string })[]
  readonly outputs: readonly StoredTensor[]
  readonly initializers?: readonly (StoredTensor & { readonly name: string })[]
}

export interface OnnxTensor {
  readonly data: Float32Array
  readonly dims: number[]
}

export interface OnnxCase {
  readonly name: string
  readonly opset: number
  readonly attributes: StoredCase['resolved']
  /** In the order of the operator's arguments. */
  readonly inputs: readonly OnnxTensor[]
  readonly outputs: readonly OnnxTensor[]
}

function decode({ data, dims, dtype }: StoredTensor): OnnxTensor {
  if (dtype !== 'float32') throw new Error(`dtype expected float32, got ${dtype}`)
  const bytes = Uint8Array.from(Buffer.from(data, 'base64'))
  return { data: new Float32Array(bytes.buffer), dims }
}

function onnxCases(json: string, op: string): OnnxCase[] {
  const stored = JSON.parse(json) as { cases: StoredCase[] } | StoredCase[]
  const all = Array.isArray(stored) ? stored : stored.cases
  return all
    .filter(one => one.op === op)
    .map(({ name, opset, resolved, node_inputs, inputs, outputs, initializers = [] }) => {
      const given = node_inputs.map(wanted => [...inputs, ...initializers].find(tensor => tensor.name === wanted))
      if (given.includes(undefined)) throw new Error(`${name}: an input is missing`)
      return {
        name,
        opset,
        attributes: resolved,
        inputs: (given as StoredTensor[]).map(decode),
        outputs: outputs.map(decode)
      }
    })
}

/** The arguments of layerNorm and rmsNorm: the dimensions from `axis` on, and eps. */
export function trailing({ attributes, inputs: [{ dims }] }: OnnxCase): { group: number[]; eps: number } {
  const axis = (attributes.axis ?? -1) as number
  return { group: dims.slice(axis), eps: (attributes.epsilon ?? 1e-5) as number }
}

/** Truth: ONNX's cases of an operator. `call` gives the outputs in the order of ONNX's. */
export function testOnnxCases(op: string, count: number, call: (given: OnnxCase) => (Float32Array | undefined)[]) {
  const path = new URL('../../../shared/data/onnx_node_cases.json', import.meta.url)

  it.skipIf(!existsSync(path))(`truth: agrees with ONNX's ${count} test cases of ${op}`, () => {
    const found = onnxCases(readFileSync(path, 'utf8'), op)
    expect(found.length).toBe(count)
    for (const given of found) {
      const actual = call(given)
      given.outputs.forEach(({ data: expected }, k) => {
        expect(actual[k]?.length, given.name).toBe(expected.length)
        // ONNX's reference computed in float32: some roundings of its own, 20 half ulps of the largest at these sizes.
        const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
        actual[k]?.forEach((value, i) => {
          expect(Math.abs(value - expected[i]), `${given.name}: output ${k}`).toBeLessThanOrEqual(
            20 * 2 ** -24 * largest
          )
        })
      })
    }
  })
}
