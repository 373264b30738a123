// A TensorFlow.js model that trains with evenkeel's GroupNorm, LayerNorm and RMSNorm: the next character of Moby-Dick from the
// eight before it. node examples/tfjs/train.mjs
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs'
import { normal, random } from '../../dist/esm/cases/data.js'
import { groupNorm, layerNorm, rmsNorm } from './norms.mjs'

const alphabet = " abcdefghijklmnopqrstuvwxyz.,;'-"
const [context, channels, width, batch, steps] = [8, 16, 48, 32, 120]
const book = readFileSync(new URL('../moby-dick.txt', import.meta.url), 'utf8')
const ids = Array.from(book.slice(0, 200_000).toLowerCase(), character => Math.max(0, alphabet.indexOf(character)))

const next = random(1)
const weights = (...shape) => {
  const inputs = shape.slice(0, -1).reduce((product, n) => product * n, 1)
  const values = Float32Array.from({ length: inputs * shape.at(-1) }, () => normal(next) / Math.sqrt(inputs))
  return tf.variable(tf.tensor(values, shape))
}
const ones = n => tf.variable(tf.ones([n]))
const zeros = n => tf.variable(tf.zeros([n]))

const embedding = weights(alphabet.length, channels)
const convolution = { filter: weights(3, channels, channels), weight: ones(channels), bias: zeros(channels) }
const dense = { matrix: weights(context * channels, width), weight: ones(width), bias: zeros(width) }
const block = { weight: ones(width), up: weights(width, width), down: weights(width, width) }
const output = weights(width, alphabet.length)

function logitsOf(windows) {
  const embedded = tf.gather(embedding, windows)
  const convolved = groupNorm(
    tf.conv1d(embedded, convolution.filter, 1, 'same'),
    4,
    convolution.weight,
    convolution.bias
  )
  const flat = tf.relu(convolved).reshape([windows.shape[0], context * channels])
  const stream = tf.relu(layerNorm(tf.matMul(flat, dense.matrix), dense.weight, dense.bias))
  const normed = rmsNorm(stream, block.weight)
  return tf.matMul(stream.add(tf.matMul(tf.relu(tf.matMul(normed, block.up)), block.down)), output)
}

function lossOf() {
  const starts = Array.from({ length: batch }, () => Math.floor(next() * (ids.length - context)))
  const windows = tf.tensor2d(
    starts.map(start => ids.slice(start, start + context)),
    [batch, context],
    'int32'
  )
  const targets = tf.oneHot(
    tf.tensor1d(
      starts.map(start => ids[start + context]),
      'int32'
    ),
    alphabet.length
  )
  return tf.losses.softmaxCrossEntropy(targets, logitsOf(windows))
}

const optimiser = tf.train.adam(0.01)
let sum = 0
for (let step = 1; step <= steps; step++) {
  const loss = optimiser.minimize(lossOf, true)
  sum += loss.dataSync()[0]
  loss.dispose()
  if (step % 20 > 0) continue
  console.log(`steps ${step - 19} to ${step}: ${(sum / 20).toFixed(2)} nats per character`)
  sum = 0
}
