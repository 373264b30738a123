// evenkeel's norms as operations of TensorFlow.js with gradients: its optimisers train through them.
// The whole of @tensorflow/tfjs is needed: tfjs-core alone registers no gradients in Node.js.
import * as tf from '@tensorflow/tfjs'
import * as evenkeel from '../../dist/esm/index.js'

const read = tensor => ({ data: tensor.dataSync(), dims: tensor.shape })

/** An operation of tensors, the first of which is x. Forward gives y; backward, from dy, dx, dweight and dbias. */
function operation(tensors, forward, backward) {
  return tf.customGrad((...inputs) => {
    const save = inputs.pop()
    save(inputs)
    const { data, dims } = forward(...inputs.map(read))
    const gradFunc = (dy, saved) => {
      const { dx, dweight, dbias } = backward(read(dy), ...saved.map(read))
      return saved.map(({ shape }, i) => tf.tensor([dx.data, dweight, dbias][i], shape))
    }
    return { value: tf.tensor(data, dims), gradFunc }
  })(...tensors)
}

/** Memory for what the forward knows and the backward needs not compute again. */
const statistics = groups => ({ mean: new Float64Array(groups), rstd: new Float64Array(groups) })

/** Over the last dimensions of x: those of weight and bias. */
export function layerNorm(x, weight, bias, eps = 1e-5) {
  const more = { eps, ...statistics(x.size / weight.size) }
  return operation(
    [x, weight, bias],
    (x, weight, bias) => evenkeel.layerNorm(x, weight.dims, { weight, bias, ...more }),
    (dy, x, weight, bias) => evenkeel.layerNormBackward(dy, x, weight.dims, { weight, bias, ...more })
  )
}

/** Over the last dimensions of x: those of weight. */
export function rmsNorm(x, weight, eps = 1e-6) {
  const more = { eps, rstd: statistics(x.size / weight.size).rstd }
  return operation(
    [x, weight],
    (x, weight) => evenkeel.rmsNorm(x, weight.dims, { weight, ...more }),
    (dy, x, weight) => evenkeel.rmsNormBackward(dy, x, weight.dims, { weight, ...more })
  )
}

/** Over groups of the channels, which are the last dimension, as TensorFlow.js has them. */
export function groupNorm(x, groups, weight, bias, eps = 1e-5) {
  const more = { eps, layout: 'channels-last', ...statistics(x.shape[0] * groups) }
  return operation(
    [x, weight, bias],
    (x, weight, bias) => evenkeel.groupNorm(x, groups, { weight, bias, ...more }),
    (dy, x, weight, bias) => evenkeel.groupNormBackward(dy, x, groups, { weight, bias, ...more })
  )
}
