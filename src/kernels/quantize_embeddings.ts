// quantize_embeddings: rows of float32 as codes of fewer bits (rule 19). The twin of native/kernels/quantize_embeddings.h.
import { toBfloat16, toFloat16 } from './float16.js'
import { largestNumber } from './lanes.js'
import { codeBytes, codeFormats, stridesOf } from './operands.js'
import type { Call } from './signatures.js'

const f32 = Math.fround

const [FLOAT16, BFLOAT16, INT8_RANGES, UINT8_RANGES, INT8_UNIT, INT8_ROW, INT8_SQLITE_VEC, UBINARY_MSB, , BINARY_MSB] =
  codeFormats.keys()

/** 1.5 * 2^23: float32 has no fractions there. */
const SHIFT = 12582912

/** The nearest integer, ties to even, of a number from -2^22 to 2^22. */
function toInteger(value: number): number {
  return f32(f32(value + SHIFT) - SHIFT)
}

/** Within these limits; `low` for NaN. */
function limited(value: number, low: number, high: number): number {
  const above = value > low ? value : low
  return above < high ? above : high
}

function nearestCode(value: number): number {
  return toInteger(limited(Number.isNaN(value) ? 0 : value, -127, 127))
}

/** The code of a number in [low, low + 256 * step): how many steps it is above the lowest. */
function rangeCode(value: number, low: number, step: number): number {
  return Math.trunc(limited(f32(f32(value - low) / step), 0, 255))
}

/** What vec_quantize_int8 of sqlite-vec takes for a step. */
export const SQLITE_VEC_STEP = f32(2 / 255)

function sqliteVecCode(value: number): number {
  if (Number.isNaN(value)) return 0
  return Math.trunc(limited((value + 1) / SQLITE_VEC_STEP - 128, -128, 127))
}

/** Bit c of a row: whether x[c] > 0. Bits beyond the last are 0. */
function packBits(out: Uint8Array, to: number, n: number, x: Float32Array, start: number, msb: boolean, flip: number) {
  for (let i = 0; i < n; i += 8) {
    const some = Math.min(8, n - i)
    let byte = 0
    for (let k = 0; k < some; k++) if (x[start + i + k] > 0) byte |= 1 << (msb ? 7 - k : k)
    out[to + i / 8] = byte ^ flip
  }
}

function pack16Bits(out: Uint8Array, to: number, n: number, x: Float32Array, start: number, brain: boolean): void {
  for (let k = 0; k < n; k++) {
    const code = brain ? toBfloat16(x[start + k]) : toFloat16(x[start + k])
    out[to + 2 * k] = code & 0xff
    out[to + 2 * k + 1] = code >>> 8
  }
}

/** Writes the codes; returns what a code of the row is multiplied by. */
function packRow(out: Uint8Array, to: number, n: number, x: Float32Array, start: number): number {
  const quotient = f32(largestNumber(n, x, start) / 127)
  const scale = quotient === 0 ? 1 : quotient
  for (let k = 0; k < n; k++) {
    const v = x[start + k]
    const infinite = Math.abs(v) === Number.POSITIVE_INFINITY // in a row with Inf, whose scale is Inf
    out[to + k] = nearestCode(infinite ? v : f32(v / scale))
  }
  return scale
}

/** Every row of a call. */
export function quantize_embeddings(call: Call<'quantize_embeddings'>): void {
  const { codes, scales, x, low, step, shape, format = 0 } = call
  const { outer, size: n } = shape
  const [, , xStride] = stridesOf(call.strides, n)
  const bytes = codeBytes(format, n)
  for (let row = 0; row < outer; row++) {
    const to = row * bytes
    const start = row * xStride
    if (format === FLOAT16 || format === BFLOAT16) {
      pack16Bits(codes, to, n, x, start, format === BFLOAT16)
    } else if (format === INT8_RANGES || format === UINT8_RANGES) {
      const flip = format === INT8_RANGES ? 0x80 : 0
      for (let k = 0; low && step && k < n; k++) codes[to + k] = rangeCode(x[start + k], low[k], step[k]) ^ flip
    } else if (format === INT8_UNIT) {
      for (let k = 0; k < n; k++) codes[to + k] = nearestCode(f32(x[start + k] * 127))
    } else if (format === INT8_ROW) {
      const scale = packRow(codes, to, n, x, start)
      if (scales) scales[row] = scale
    } else if (format === INT8_SQLITE_VEC) {
      for (let k = 0; k < n; k++) codes[to + k] = sqliteVecCode(x[start + k])
    } else {
      const msb = format === UBINARY_MSB || format === BINARY_MSB
      packBits(codes, to, n, x, start, msb, format >= BINARY_MSB ? 0x80 : 0)
    }
  }
}
