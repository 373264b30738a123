// A worker of why-not-batchnorm.ts: the statistics of its part of the batch, as the bytes that would go over a network.
import { parentPort, workerData } from 'node:worker_threads'
import { batchStatistics } from '../dist/esm/index.js'

parentPort.postMessage(batchStatistics(workerData).toBytes())
