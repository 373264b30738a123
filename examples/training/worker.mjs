// A thread of pool.ts: one run at a time. In JavaScript, because Node.js 20 starts no worker from TypeScript, with tsx neither.
import { parentPort } from 'node:worker_threads'
import { tsImport } from 'tsx/esm/api'

const { train } = await tsImport('./train.ts', import.meta.url)
parentPort.on('message', run => parentPort.postMessage(train(run)))
