// Hidden vectors of a real encoder, before and after the norm: the input of the last LayerNorm of the Universal Sentence
// Encoder lite (../README.md says where it comes from), and what this LayerNorm, or another norm in its place, makes of it.
import { layerNorm, rmsNorm } from '../../dist/esm/index.js'
import { readTensor, ulpsApart } from '../data.ts'
import { type Moments, momentsOf } from './train.ts'

export interface Encoder {
  /** How far ours is from the encoder's own result, in units in the last place of a vector's largest element. */
  readonly ulpsFromItsOwn: number
  /** Mean and standard deviation over the features at each position of one sentence. */
  readonly input: Moments
  readonly layerNorm: Moments
  readonly rmsNorm: Moments
  /** LayerNorm with the encoder's weight and bias: what its next layer sees. */
  readonly withWeights: Moments
}

export async function readEncoder(): Promise<Encoder> {
  const [x, y, { data: weight }, { data: bias }, lengths] = await Promise.all(
    ['in_8x26x512', 'out_8x26x512', 'weight_512', 'bias_512']
      .map(name => readTensor(`examples/use_layer_norm_${name}.npy`))
      .concat(readTensor('examples/use_lengths_24.npy'))
  )
  const [sentences, positions, features] = x.dims
  const eps = 1e-6
  const whole = layerNorm(x.data, features, { weight, bias, eps })
  const ofSentences = Array.from(lengths.data.subarray(0, sentences))
  const longest = Math.max(...ofSentences)
  const begin = ofSentences.indexOf(longest) * positions * features
  const sentence = x.data.subarray(begin, begin + longest * features)
  const moments = (data: Float32Array) => momentsOf(data, features)
  return {
    ulpsFromItsOwn: ulpsApart(whole, y.data, features),
    input: moments(sentence),
    layerNorm: moments(layerNorm(sentence, features, { eps })),
    rmsNorm: moments(rmsNorm(sentence, features, { eps })),
    withWeights: moments(whole.subarray(begin, begin + longest * features))
  }
}
