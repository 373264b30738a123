import { type BackendInfo, type BackendName, backend, backendInfo, LayerNorm, layerNorm, type Operand } from 'evenkeel'
import { layerNorm as plain, backend as plainBackend } from 'evenkeel/js'

const x = new Float32Array(8)
const y: Operand = layerNorm(x, 4, { eps: 1e-5 })
const z: Float32Array = new LayerNorm(4).forward(x) as Float32Array
const info: BackendInfo = backendInfo()
const name: BackendName = backend
// @ts-expect-error: an option that there is not
const refused = () => layerNorm(x, 4, { epsilon: 1 })
// @ts-expect-error: not a shape
const refusedToo = () => plain(x, '4')
console.log(
  JSON.stringify({
    backend: name,
    same: String(y) === String(z),
    plain: plainBackend,
    info: info.why,
    n: [refused, refusedToo].length
  })
)
