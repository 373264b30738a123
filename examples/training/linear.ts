// A linear layer y = x w by plain loops, float64 sums in ascending order. Rows and columns come in fours.

/** y = x w: x is [rows, inputs], w [inputs, outputs]. */
export function linear(y: Float32Array, x: Float32Array, w: Float32Array, rows: number): void {
  const outputs = y.length / rows
  const inputs = w.length / outputs
  multiply(y, x, inputs, 1, w, rows, inputs, outputs)
}

/** dw = xᵀ dy. */
export function weightGradient(dw: Float32Array, x: Float32Array, dy: Float32Array, rows: number): void {
  const inputs = x.length / rows
  multiply(dw, x, 1, inputs, dy, inputs, rows, dy.length / rows)
}

/** dx = dy wᵀ. */
export function inputGradient(dx: Float32Array, dy: Float32Array, w: Float32Array, rows: number): void {
  const inputs = dx.length / rows
  const outputs = dy.length / rows
  multiply(dx, dy, outputs, 1, transposed(w, inputs, outputs), rows, outputs, inputs)
}

/** A worker has its own: shared memory would be written by two trainings at once. */
let scratch = new Float32Array(0)

function transposed(w: Float32Array, rows: number, columns: number): Float32Array {
  if (scratch.length < w.length) scratch = new Float32Array(w.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) scratch[j * rows + i] = w[i * columns + j]
  return scratch
}

/**
 * c[i, j] = sum over p of a[i * aRow + p * aColumn] * b[p, j], in blocks of 4 x 4 sums, so that each element that is loaded
 * serves four.
 */
function multiply(
  c: Float32Array,
  a: Float32Array,
  aRow: number,
  aColumn: number,
  b: Float32Array,
  rows: number,
  inner: number,
  columns: number
): void {
  for (let i = 0; i < rows; i += 4) {
    for (let j = 0; j < columns; j += 4) {
      let c00 = 0
      let c01 = 0
      let c02 = 0
      let c03 = 0
      let c10 = 0
      let c11 = 0
      let c12 = 0
      let c13 = 0
      let c20 = 0
      let c21 = 0
      let c22 = 0
      let c23 = 0
      let c30 = 0
      let c31 = 0
      let c32 = 0
      let c33 = 0
      for (let p = 0; p < inner; p++) {
        const at = i * aRow + p * aColumn
        const from = p * columns + j
        const b0 = b[from]
        const b1 = b[from + 1]
        const b2 = b[from + 2]
        const b3 = b[from + 3]
        const a0 = a[at]
        c00 += a0 * b0
        c01 += a0 * b1
        c02 += a0 * b2
        c03 += a0 * b3
        const a1 = a[at + aRow]
        c10 += a1 * b0
        c11 += a1 * b1
        c12 += a1 * b2
        c13 += a1 * b3
        const a2 = a[at + 2 * aRow]
        c20 += a2 * b0
        c21 += a2 * b1
        c22 += a2 * b2
        c23 += a2 * b3
        const a3 = a[at + 3 * aRow]
        c30 += a3 * b0
        c31 += a3 * b1
        c32 += a3 * b2
        c33 += a3 * b3
      }
      const to = i * columns + j
      c[to] = c00
      c[to + 1] = c01
      c[to + 2] = c02
      c[to + 3] = c03
      c[to + columns] = c10
      c[to + columns + 1] = c11
      c[to + columns + 2] = c12
      c[to + columns + 3] = c13
      c[to + 2 * columns] = c20
      c[to + 2 * columns + 1] = c21
      c[to + 2 * columns + 2] = c22
      c[to + 2 * columns + 3] = c23
      c[to + 3 * columns] = c30
      c[to + 3 * columns + 1] = c31
      c[to + 3 * columns + 2] = c32
      c[to + 3 * columns + 3] = c33
    }
  }
}
