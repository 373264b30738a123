// Nearest neighbours, as a vector database finds them.

/** How near vectors i and j are; more is nearer. */
export type Nearness = (i: number, j: number) => number

/** The cosine of the angle between vectors of so many elements. */
export function cosine(vectors: Float32Array, dimensions: number): Nearness {
  const dot = (i: number, j: number) => {
    let sum = 0
    for (let c = 0; c < dimensions; c++) sum += vectors[i * dimensions + c] * vectors[j * dimensions + c]
    return sum
  }
  return (i, j) => dot(i, j) / Math.sqrt(dot(i, i) * dot(j, j))
}

/** Minus the Hamming distance, in bits, of codes of so many bytes. */
export function hamming(codes: Uint8Array, bytes: number): Nearness {
  const ones = (byte: number) => byte.toString(2).replaceAll('0', '').length
  const counts = Array.from({ length: 256 }, (_, byte) => ones(byte))
  return (i, j) => {
    let distance = 0
    for (let b = 0; b < bytes; b++) distance += counts[codes[i * bytes + b] ^ codes[j * bytes + b]]
    return -distance
  }
}

/** Which of so many vectors is nearest to vector i; undefined where two are equally near. */
export function nearest(i: number, count: number, nearness: Nearness): number | undefined {
  let best: number | undefined
  let most = Number.NEGATIVE_INFINITY
  for (let j = 0; j < count; j++) {
    if (j === i) continue
    const near = nearness(i, j)
    if (near === most) best = undefined
    if (near > most) {
      best = j
      most = near
    }
  }
  return best
}
