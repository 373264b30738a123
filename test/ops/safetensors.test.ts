// .safetensors bytes as loadState reads them: every code of 16 bits, and files that are damaged, cut or made to harm.
import { describe, expect, it } from 'vitest'
import { random } from '../../dist/esm/cases/data.js'
import { LayerNorm } from '../../dist/esm/index.js'
import { toBfloat16, toFloat16 } from '../../dist/esm/kernels/float16.js'
import { expectRefusal, refuses } from '../support/refusal.ts'
import { f32, safetensors, withHeader } from '../support/safetensors.ts'

const entry = (shape: readonly unknown[], offsets: readonly unknown[], dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: offsets
})
const numbers = Float32Array.of(1, 2, 3, 4)
const data = new Uint8Array(numbers.buffer)
const whole = { weight: entry([4], [0, 16]) }
const load = (bytes: Uint8Array, prefix = '') => new LayerNorm(4).loadState(bytes, { prefix }).parameters()

describe('behaviour: numbers of 16 bits', () => {
  it.each([
    ['F16', toFloat16],
    ['BF16', toBfloat16]
  ] as const)('every code of %s becomes the float32 that has it', (dtype, code) => {
    const codes = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i)
    const file = safetensors({ weight: { dtype, shape: [2 ** 16], data: codes } })
    const { weight } = new LayerNorm(2 ** 16).loadState(file).parameters() as { weight: Float32Array }
    let nans = 0
    for (let i = 0; i < 2 ** 16; i++) {
      if (Number.isNaN(weight[i])) nans++
      else if (code(weight[i]) !== i) expect.fail(`${i}: ${weight[i]}`)
    }
    expect(nans).toBe(dtype === 'F16' ? 2 * (2 ** 10 - 1) : 2 * (2 ** 7 - 1))
    const known = dtype === 'F16' ? { 1: 2 ** -24, 1023: 1023 * 2 ** -24, 31743: 65504 } : { 1: 2 ** -133, 16256: 1 }
    for (const [i, value] of Object.entries(known)) expect(weight[Number(i)]).toBe(value)
    expect(weight[0x8000]).toBe(-0)
    expect(weight[dtype === 'F16' ? 0xfc00 : 0xff80]).toBe(Number.NEGATIVE_INFINITY)
  })

  it('float64 is rounded to the nearest, ties to even; infinities and NaN stay', () => {
    const values = Float64Array.of(0.1, 1 + 2 ** -24, 1 + 3 * 2 ** -24, Number.NEGATIVE_INFINITY)
    const file = (data: Float64Array) => safetensors({ weight: { dtype: 'F64', shape: [4], data } })
    expect(load(file(values)).weight).toEqual(Float32Array.of(0.1, 1, 1 + 2 ** -22, Number.NEGATIVE_INFINITY))
    refuses(() => load(file(Float64Array.of(1, 3.5e38, 1, 1))), [], 'loadState', RangeError, 'weight[1]', 'got 3.5e+38')
  })
})

describe('behaviour: files as other programs write them', () => {
  it('in any order, with white space, escapes, metadata, and tensors of types and shapes that are not read', () => {
    const header = ` {"__metadata__" : {"format":"pt", "a\\"b":"\\u00e9"},
      "\\u0077eight":\t{"data_offsets": [ 8 , 24 ], "shape":[4],"dtype":"F32"},
      "名": {"dtype":"F8_E4M3","shape":[2,4],"data_offsets":[0,8]}, "empty":{"dtype":"I8","shape":[0],"data_offsets":[8,8]},
      "__proto__": {"dtype":"BOOL","shape":[],"data_offsets":[24,25]}, "constructor":{"dtype":"U8","shape":[],"data_offsets":[25,26]}}   `
    const file = withHeader(header, new Uint8Array([...new Uint8Array(8), ...data, 1, 1]))
    refuses(() => load(file), [], 'loadState', TypeError, 'names', '"weight", "名", "empty"')
    const named = withHeader(header.replace('"\\u0077eight"', '"n.\\u0077eight"'), file.subarray(file.length - 26))
    expect(load(named, 'n.').weight).toEqual(numbers)
  })

  it('of names that objects have by themselves', () => {
    for (const name of ['__proto__', 'constructor', 'toString']) {
      const file = withHeader(`{"${name}":${JSON.stringify(whole.weight)}}`, data)
      refuses(() => load(file), [], 'loadState', TypeError, `got "${name}"`)
      refuses(() => load(file, name), [], 'loadState', TypeError, 'got ""')
      refuses(() => load(withHeader({ weight: entry([4], [0, 16], name) }, data)), [], 'loadState', TypeError, 'dtype')
    }
  })
})

describe('behaviour: files that are not as they should be', () => {
  const many = Array.from({ length: 65 }, () => 1)
  const refused: { readonly [what: string]: [Uint8Array, typeof RangeError | typeof TypeError, ...string[]] } = {
    'no bytes': [new Uint8Array(0), RangeError, 'bytes expected at least 8, got 0'],
    'a cut length': [withHeader('').subarray(0, 7), RangeError, 'at least 8, got 7'],
    'no header': [withHeader(''), RangeError, 'header at 0', 'its end'],
    'a header beyond the file': [
      withHeader(whole, data).subarray(0, 40),
      RangeError,
      'header expected at most 32 bytes'
    ],
    'a header of 2^64 - 1 bytes': [new Uint8Array(64).fill(255), RangeError, 'got 18446744073709552000'],
    'a pickle': [new TextEncoder().encode('PK\x03\x04 archive/data.pkl'), RangeError, 'is it a .safetensors file'],
    'no UTF-8': [withHeader(Uint8Array.of(0x7b, 0x22, 0xff, 0x22)), RangeError, 'UTF-8'],
    'a byte order mark': [withHeader('\ufeff{}'), RangeError, 'header at 0'],
    'a list': [withHeader('[]'), RangeError, "expected '{'"],
    'text behind the header': [withHeader('{} {}'), RangeError, 'header at 3 expected its end'],
    'zeros behind the header': [withHeader('{}\0\0'), RangeError, 'header at 2 expected its end'],
    'a comma too many': [withHeader('{"a":{"dtype":"F32",}}'), RangeError, "expected '\"'"],
    'a cut header': [withHeader('{"weight":{"dtype":"F3'), RangeError, 'got its end'],
    'a cut escape': [withHeader('{"weight\\'), RangeError, 'got its end'],
    'a wrong escape': [withHeader('{"\\x":{}}'), RangeError, 'string of JSON'],
    'a line break in a name': [withHeader('{"a\nb":{}}'), RangeError, "a string's characters"],
    'metadata that is no text': [withHeader('{"__metadata__":{"a":1}}'), RangeError, 'header at 21'],
    'a number for a tensor': [withHeader({ weight: 1 }), RangeError, 'expected \'{\', got "1}"'],
    'a tensor without a shape': [
      withHeader('{"weight":{"dtype":"F32","data_offsets":[0,16]}}', data),
      RangeError,
      'shape'
    ],
    'a tensor with something else': [
      withHeader({ weight: { ...whole.weight, strides: [1] } }, data),
      RangeError,
      'once each'
    ],
    'a type twice': [
      withHeader('{"weight":{"dtype":"F64","dtype":"F32","shape":[4],"data_offsets":[0,16]}}', data),
      RangeError,
      'once each'
    ],
    'a shape twice': [
      withHeader('{"weight":{"dtype":"F32","shape":[4],"shape":[4],"data_offsets":[0,16]}}', data),
      RangeError,
      'once each'
    ],
    'a name twice': [
      withHeader(
        '{"weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        data
      ),
      RangeError,
      '"weight" twice'
    ],
    'an unknown type': [withHeader({ weight: entry([16], [0, 16], 'F8_E5M2') }, data), TypeError, 'dtype', 'F8_E5M2'],
    integers: [withHeader({ weight: entry([4], [0, 16], 'I32') }, data), TypeError, 'weight.dtype', 'got I32'],
    'a negative dim': [withHeader({ weight: entry([-4], [0, 16]) }, data), RangeError, 'an integer >= 0'],
    'a fraction': [
      withHeader('{"weight":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}', data),
      RangeError,
      "']'"
    ],
    'an exponent': [
      withHeader('{"weight":{"dtype":"F32","shape":[4e0],"data_offsets":[0,16]}}', data),
      RangeError,
      "']'"
    ],
    'a leading zero': [
      withHeader('{"weight":{"dtype":"F32","shape":[04],"data_offsets":[0,16]}}', data),
      RangeError,
      'behind a 0'
    ],
    'a dim of 2^53': [
      withHeader('{"weight":{"dtype":"F32","shape":[9007199254740992],"data_offsets":[0,16]}}', data),
      RangeError,
      '2^53'
    ],
    'dims whose product overflows': [
      withHeader({ weight: entry(Array(64).fill(2 ** 52), [0, 16]) }, data),
      RangeError,
      'an array of 64'
    ],
    'dims whose product is not a number': [
      withHeader({ weight: entry([...Array(63).fill(2 ** 52), 0], [0, 0]) }),
      RangeError,
      'NaN bytes'
    ],
    'too many dims': [withHeader({ weight: entry(many, [0, 4]) }, data.subarray(12)), RangeError, 'at most 64'],
    'another shape': [withHeader({ weight: entry([5], [0, 16]) }, data), RangeError, '20 bytes (F32, shape [5])'],
    'three offsets': [withHeader({ weight: entry([4], [0, 16, 16]) }, data), RangeError, 'at most 2'],
    'one offset': [withHeader({ weight: entry([4], [16]) }, data), RangeError, 'two data_offsets'],
    'offsets backwards': [withHeader({ a: entry([], [16, 0], 'U8'), ...whole }, data), RangeError, 'data_offsets'],
    'an end before its begin': [
      withHeader({ weight: entry([0], [16, 16]) }, data),
      RangeError,
      'expected [0, ...] next'
    ],
    'offsets beyond the file': [
      withHeader({ weight: entry([4], [0, 16]) }, data.subarray(1)),
      RangeError,
      'data expected 16 bytes'
    ],
    'a gap': [
      withHeader({ weight: entry([4], [4, 20]) }, new Uint8Array(20)),
      RangeError,
      'data_offsets expected [0, ...] next'
    ],
    'an overlap': [
      withHeader({ ...whole, a: entry([4], [8, 24]) }, new Uint8Array(24)),
      RangeError,
      'expected [16, ...] next'
    ],
    'the same data twice': [
      withHeader({ ...whole, a: entry([4], [0, 16]) }, data),
      RangeError,
      'expected [16, ...] next'
    ],
    'bytes at the end': [withHeader(whole, new Uint8Array(17)), RangeError, 'data expected 16 bytes, got 17'],
    'a wrong length': [
      withHeader({ weight: entry([3], [0, 12]) }, data.subarray(4)),
      RangeError,
      'weight.length expected 4',
      'got 3'
    ]
  }

  it.each(Object.keys(refused))('%s', what => {
    const [bytes, kind, ...words] = refused[what]
    refuses(() => load(bytes), [bytes], 'loadState', kind, ...words)
  })
})

/** What loadState may take a file for, by the parser of JavaScript: the weight, or undefined for anything else. */
function weightBy(bytes: Uint8Array): Float32Array | undefined {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  const { weight } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
  const [begin, end] = weight.data_offsets
  const from = bytes.slice(8 + length + begin, 8 + length + end)
  return weight.dtype === 'F32' ? new Float32Array(from.buffer) : undefined
}

describe('behaviour: random damage', () => {
  it('is refused in words, or is none', () => {
    const next = random(14)
    const pick = (n: number) => Math.floor(next() * n)
    const file = safetensors({ weight: f32(1, 2, 3, 4), bias: { dtype: 'F16', shape: [4], data: new Uint16Array(4) } })
    const bits = '{}[]",:\\0123456789 -.eE_abFweight\n\0\x7f\xc3'
    const words = [
      '"dtype"',
      '"shape"',
      '"data_offsets"',
      '"F64"',
      '"weight"',
      '18446744073709551616',
      '[[',
      '{"a":',
      'null'
    ]
    let taken = 0
    const rounds = Number(process.env.EVENKEEL_FUZZ ?? 5_000)
    for (let round = 0; round < rounds; round++) {
      let text = Buffer.from(file).toString('latin1')
      for (let change = 0; change <= pick(3); change++) {
        const at = 8 + pick(text.length - 8)
        const insert = pick(4) === 0 ? words[pick(words.length)] : bits[pick(bits.length)]
        text = text.slice(0, at) + insert + text.slice(at + pick(3) * pick(8))
      }
      const bytes = new Uint8Array(Buffer.from(text, 'latin1'))
      // Most of them with a length of the header that fits again.
      const moved = text.lastIndexOf('}') + 1
      if (pick(8) > 0 && bytes.length >= 8)
        new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.max(0, moved - 8)), true)
      else if (pick(2) > 0) bytes[pick(8)] = pick(256)
      try {
        const { weight } = load(bytes)
        taken++
        const expected = weight && weightBy(bytes)
        if (expected) expect(weight).toEqual(expected)
      } catch (error) {
        expectRefusal(error, 'loadState', Error)
      }
    }
    expect(taken).toBeGreaterThan(rounds / 1000)
    expect(taken).toBeLessThan(rounds / 2)
  })
})

describe('behaviour: large headers', () => {
  it('are read in time in proportion to their length, and without depth', () => {
    for (const text of ['[', '{"a":', '"', '{"a":{"shape":[', '{"__metadata__":{"a":']) {
      expect(() => load(withHeader(text.repeat(200_000)))).toThrow(RangeError)
    }
    const names = Array.from({ length: 50_000 }, (_, i) => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)
    const start = performance.now()
    expect(() => load(withHeader(`{${names.join()}}`))).toThrow('"0", "1"')
    expect(performance.now() - start).toBeLessThan(2000)
  })
})
