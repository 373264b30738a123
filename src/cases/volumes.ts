// The calls of operations over channels that goldens, `verify` and the equality tests make: shapes with everything that
// begins anew somewhere, in both layouts, with and without padding, ordinary channels beside hostile ones.
import type { Spans, Volume } from '../kernels/operands.js'
import { allRows, fill, finiteRows, normal, ordinaryWeights, random, wildWeights } from './data.js'
import { all } from './rows.js'

/** Operands of one call; what an op has not, it leaves out. */
export interface VolumeCase {
  readonly name: string
  readonly samples: number
  readonly groups: number
  readonly channels: number
  readonly positions: number
  readonly channelsLast: boolean
  /** Of each sample [begin, end) of its real positions, in turn. */
  readonly spans: Int32Array | undefined
  readonly shape: Volume
  readonly x: Float32Array
  readonly weight: Float32Array | undefined
  readonly bias: Float32Array | undefined
  readonly eps: number
}

/** samples, groups, channels of a group, positions. */
const shapes: readonly [number, number, number, number][] = [
  ...[1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33].map(n => [2, n, 1, 1] as [number, number, number, number]),
  ...[1, 2, 3, 7, 8, 15, 16, 17, 49, 63, 64, 65, 130].map(n => [2, 3, 1, n] as [number, number, number, number]),
  // runs and columns in parts of 64, blocks of 4096 and beyond
  ...([
    [63, 2, 1, 2],
    [64, 3, 1, 1],
    [65, 2, 1, 33],
    [130, 5, 1, 3],
    [4095, 2, 1, 1],
    [4097, 3, 1, 1],
    [8200, 2, 1, 1],
    [2, 2, 1, 4096],
    [1, 3, 1, 4161],
    [70, 2, 1, 70],
    // strips of 256 columns
    [3, 255, 1, 1],
    [2, 256, 1, 3],
    [1, 257, 1, 5],
    [2, 600, 1, 4],
    // groups of several channels, within a strip and beyond
    [2, 2, 2, 5],
    [1, 3, 5, 16],
    [2, 8, 4, 9],
    [1, 4, 64, 7],
    [1, 3, 100, 5],
    [2, 1, 256, 3],
    [1, 2, 300, 4],
    [1, 1, 700, 2],
    [1, 2, 3, 1400],
    // without positions: rows, channels first; columns, channels last
    [3, 4, 6, 1],
    [2, 2, 300, 1]
  ] as [number, number, number, number][])
]

const kinds = Object.keys(allRows)
const finiteKinds = Object.keys(finiteRows)
const epsilons = [1e-5, 0, 1e-12, 1, 1e40]

/** For each sample some positions, one after another: all, none, the first, the last or some in the middle. */
export function spansOf(samples: number, positions: number, seed: number): Int32Array {
  const next = random(seed)
  const spans = new Int32Array(2 * samples)
  for (let n = 0; n < samples; n++) {
    const begin = n % 3 === 0 ? 0 : Math.floor(next() * positions)
    spans[2 * n] = begin
    spans[2 * n + 1] = n % 5 === 4 ? begin : begin + Math.ceil(next() * (positions - begin))
  }
  return spans
}

/** The same as kernels take them. */
export function spansOfSamples(ranges: Int32Array | undefined): Spans {
  if (!ranges) return undefined
  const samples = ranges.length / 2
  const start = samples + 1
  return Int32Array.from([...Array.from({ length: start }, (_, n) => start + 2 * n), ...ranges])
}

/** `withGroups`: also groups of several channels. */
export function* volumeCases(withGroups: boolean, isTaken = all): Generator<VolumeCase> {
  let index = 0
  for (const [samples, groups, channels, positions] of shapes) {
    if (channels > 1 && !withGroups) continue
    for (const channelsLast of [false, true]) {
      if (positions === 1 && channels === 1 && !channelsLast) continue // one memory, one layout
      for (let k = 0; k < 4; k++, index++) {
        if (!isTaken(index)) continue
        const count = groups * channels
        const x = new Float32Array(samples * count * positions)
        const [perChannel, perPosition] = channelsLast ? [1, count] : [positions, 1]
        for (let group = 0; group < groups; group++) {
          const kind = k === 3 ? kinds[group % kinds.length] : finiteKinds[(index + group) % finiteKinds.length]
          const values = fill(allRows[kind], samples * channels * positions, index * 977 + group)
          let at = 0
          for (let n = 0; n < samples; n++) {
            for (let c = group * channels; c < (group + 1) * channels; c++) {
              for (let p = 0; p < positions; p++)
                x[n * count * positions + c * perChannel + p * perPosition] = values[at++]
            }
          }
        }
        const wild = index % 3 === 2
        const spans = k % 2 === 1 ? spansOf(samples, positions, index) : undefined
        const shape = {
          samples,
          groups,
          channelsPerGroup: channels,
          positions,
          channelsLast,
          spans: spansOfSamples(spans)
        }
        const vector = (salt: number) => fill(wild ? wildWeights : ordinaryWeights, count, index * 8 + salt)
        yield {
          name: `[${samples}, ${groups} x ${channels}, ${positions}]${channelsLast ? ' channels last' : ''}, ${index}`,
          ...{ samples, groups, channels, positions, channelsLast, x },
          spans,
          shape,
          weight: index % 5 >= 2 ? vector(1) : undefined,
          bias: index % 5 === 1 || index % 5 === 4 ? fill(normal, count, index * 8 + 2) : undefined,
          eps: epsilons[index % 7 < 5 ? index % 7 : 0]
        }
      }
    }
  }
}
