import { backend, layerNorm } from 'evenkeel'

globalThis.result = { backend, bits: [...new Uint32Array(layerNorm(Float32Array.of(1, 2, 3, 4.5, 1e20), 5).buffer)] }
