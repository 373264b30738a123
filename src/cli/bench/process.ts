// The process of one contender of `evenkeel bench`. usage: process.js evenkeel|plain|onnxruntime|transformers
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { backend } from '../../index.js'
import { types16 } from '../../kernels/elements.js'
import { VERSION } from '../../version.js'
import { type Ready, serve } from './contender.js'
import {
  into,
  largest16,
  MEMCPY,
  memcpy,
  named,
  named16,
  type Ort,
  onnxruntime,
  ours,
  PLAIN,
  plainRows,
  prepared16,
  type RowProblem,
  rowCalls,
  rowNodes,
  type Transformers,
  transformers
} from './rows.js'

/** The packages of whoever calls. */
const require = createRequire(join(process.cwd(), 'package.json'))

const empty = (given: RowProblem) => new Float32Array(given.x.length)

function evenkeel(given: RowProblem): Map<string, Ready> {
  const y = empty(given)
  const calls = rowCalls(given, y)
  if (!calls) return new Map()
  let largest = 0
  for (const value of given.x) largest = Math.max(largest, Math.abs(value))
  const types = types16.filter(dtype => largest <= largest16[dtype])
  return new Map([
    [named('prepared layer', backend), ours(given, y, calls.prepared)],
    [named('function', backend), ours(given, y, calls.called)],
    ...types.map(dtype => [named16(dtype, backend), prepared16(given, dtype)] as const),
    [MEMCPY, into(y, memcpy(given.x, y))]
  ])
}

function plain(given: RowProblem): Map<string, Ready> {
  const y = empty(given)
  return new Map([[PLAIN, into(y, plainRows(given, y))]])
}

const which = process.argv[2]
if (which === 'evenkeel') await serve(async given => evenkeel(given as RowProblem), VERSION)
else if (which === 'plain') await serve(async given => plain(given as RowProblem), process.versions.v8)
else if (which === 'onnxruntime') {
  const ort: Ort = require('onnxruntime-node')
  const make = async (given: RowProblem) => {
    const nodes = rowNodes(given)
    return nodes ? onnxruntime(ort, given, nodes, { weight: given.weight, bias: given.bias }) : new Map()
  }
  await serve(make, ort.env.versions.node)
} else {
  const peer: Transformers = require('@huggingface/transformers')
  await serve(async given => transformers(peer, given as RowProblem), peer.env.version)
}
