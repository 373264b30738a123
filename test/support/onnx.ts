// Reads the operator test cases of ONNX that lie beside the repository (../shared/data), where they are.

interface StoredTensor {
  readonly dims: number[]
  readonly dtype: string
  readonly data: string
}

interface StoredCase {
  readonly name: string
  readonly op: string
  readonly resolved: { readonly axis?: number; readonly epsilon?: number }
  readonly inputs: readonly StoredTensor[]
  readonly outputs: readonly StoredTensor[]
}

/** A case of a normalisation over the dimensions from `axis` on. */
export interface OnnxCase {
  readonly name: string
  readonly dims: number[]
  /** Counted from the front. */
  readonly axis: number
  readonly epsilon: number
  readonly inputs: readonly Float32Array[]
  readonly outputs: readonly Float32Array[]
}

function decode({ data, dtype }: StoredTensor): Float32Array {
  if (dtype !== 'float32') throw new Error(`dtype expected float32, got ${dtype}`)
  const bytes = Uint8Array.from(Buffer.from(data, 'base64'))
  return new Float32Array(bytes.buffer)
}

export function onnxCases(json: string, op: string): OnnxCase[] {
  const stored = JSON.parse(json) as { cases: StoredCase[] } | StoredCase[]
  const all = Array.isArray(stored) ? stored : stored.cases
  return all
    .filter(one => one.op === op)
    .map(({ name, resolved, inputs, outputs }) => {
      const { dims } = inputs[0]
      const axis = resolved.axis ?? -1
      return {
        name,
        dims,
        axis: axis < 0 ? axis + dims.length : axis,
        epsilon: resolved.epsilon ?? 1e-5,
        inputs: inputs.map(decode),
        outputs: outputs.map(decode)
      }
    })
}
