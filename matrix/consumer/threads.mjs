// Four threads at once, each verifies all backends.
import { Worker } from 'node:worker_threads'

const cli = new URL('./node_modules/evenkeel/dist/esm/cli/index.js', import.meta.url)
const codes = Array.from({ length: 4 }, () => {
  const worker = new Worker(cli, { argv: ['verify'], stdout: true })
  worker.stdout.resume()
  return new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
})
console.log(JSON.stringify(await Promise.all(codes)))
