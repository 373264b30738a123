// The process of one contender. usage: process.ts evenkeel|'plain loop'|onnxruntime|transformers|tfjs|onednn BACKEND
import { serve } from '../dist/esm/cli/bench/contender.js'
import { into, PLAIN, transformers } from '../dist/esm/cli/bench/rows.js'
import { VERSION } from '../dist/esm/version.js'
import { copies } from './copies.ts'
import { loadOneDnn, oneDnnRuns } from './onednn.ts'
import { evenkeel } from './ours.ts'
import { loadOrt, loadTfjs, loadTransformers, onnx, tfjs } from './peers.ts'
import { plain } from './plain.ts'
import type { Problem } from './problem.ts'

const which = process.argv[2]
switch (which) {
  case 'evenkeel':
    await serve(async (given: Problem) => {
      // One for all: where it lies in the caches then favours none.
      const y = new Float32Array(given.x.length)
      return new Map([...evenkeel(given, y), ...copies(given.x, y)])
    }, VERSION)
    break
  case PLAIN:
    await serve(async (given: Problem) => {
      const y = new Float32Array(given.x.length)
      return new Map([[PLAIN, into(y, plain(given, y))]])
    }, `V8 ${process.versions.v8}`)
    break
  case 'onnxruntime': {
    const ort = loadOrt()
    await serve((given: Problem) => onnx(ort, given), ort.env.versions.node)
    break
  }
  case 'transformers': {
    const peer = loadTransformers()
    await serve(async (given: Problem) => transformers(peer, given), peer.env.version)
    break
  }
  case 'tfjs': {
    const tf = await loadTfjs()
    await serve(async (given: Problem) => tfjs(tf, given), tf.version_core)
    break
  }
  case 'onednn': {
    const peer = loadOneDnn()
    await serve(async (given: Problem) => oneDnnRuns(peer, process.argv[3], given), peer.version)
    break
  }
  default:
    throw new RangeError(`no contender ${which}`)
}
