import { backend, backendInfo, layerNorm } from 'evenkeel'

const y = layerNorm(Float32Array.of(1, 2, 3, 4.5, 1e20), 5)
console.log(JSON.stringify({ backend, loadedFrom: backendInfo().loadedFrom, bits: [...new Uint32Array(y.buffer)] }))
