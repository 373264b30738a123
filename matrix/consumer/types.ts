// What the compiler must say of calls, with the oldest TypeScript and with the newest; and, compiled, what they do.
import {
  type AsyncOptions,
  type BackendInfo,
  type BackendName,
  BatchNorm,
  type BatchNormLayerOptions,
  backend,
  backendInfo,
  batchNorm,
  batchNormBackward,
  calibrateEmbeddings,
  dequantizeEmbeddings,
  type ElementArray,
  EmbeddingPooler,
  type EmbeddingTensor,
  type Float16ArrayLike,
  GroupNorm,
  type GroupNormOptions,
  groupNorm,
  groupNormBackward,
  InstanceNorm,
  instanceNorm,
  instanceNormBackward,
  LayerNorm,
  type LayerNormBackwardFunctionOptions,
  type LayerNormOptions,
  type LoadStateOptions,
  type LocalResponseNormOptions,
  layerNorm,
  layerNormBackward,
  localResponseNorm,
  Normalize,
  type NormalizeBackwardFunctionOptions,
  type NormalizeOptions,
  normalize,
  normalizeBackward,
  type Operand,
  type PoolEmbeddingsOptions,
  poolEmbeddings,
  type QuantizeEmbeddingsOptions,
  quantizeEmbeddings,
  RMSNorm,
  type RMSNormBackwardFunctionOptions,
  type RMSNormOptions,
  rmsNorm,
  rmsNormBackward,
  type TensorLike
} from 'evenkeel'
import { layerNorm as plain, backend as plainBackend } from 'evenkeel/js'

/** Whether two types are one. (In files of .mts, `<T>() =>` is reserved.) */
type Same<A, B> = (<T, _>() => T extends A ? 1 : 2) extends <T, _>() => T extends B ? 1 : 2 ? true : false

/** `exactly<B>(true)` compiles where what `run` returns is of the type B. It is never run: there are no values of most types here. */
function gives<A>(run: () => A) {
  return {
    exactly<B>(is: Same<A, B>) {
      return [run, is]
    }
  }
}

type NewFloat32 = ReturnType<Float32Array['slice']>
type NewUint16 = ReturnType<Uint16Array['slice']>
type Data = Float32Array | Int8Array | Uint16Array | string[]

/** As the tensors of onnxruntime: `data` is of any type. */
interface AnyTensor extends TensorLike {
  readonly data: Data
  readonly dims: readonly number[]
  dispose(): void
}
/** As those whose type is known. */
interface Float32Tensor extends AnyTensor {
  readonly data: Float32Array
  readonly type: 'float32'
}
interface Float16Tensor extends AnyTensor {
  readonly data: Uint16Array
  readonly type: 'float16'
}

declare const float32: Float32Array
declare const float16: Float16ArrayLike
declare const bits: Uint16Array
declare const shared: Float32Array
declare const any: Operand
declare const tensor: TensorLike
declare const anyTensor: AnyTensor
declare const float32Tensor: Float32Tensor
declare const float16Tensor: Float16Tensor
declare const codes: Int8Array

// Of an array an array of its kind, in new memory; of a tensor its class; of what may be either, either.
type Narrowed<T> = T & { readonly data: Float32Array | Uint16Array }
type AnyResult = NewFloat32 | NewUint16 | Float16ArrayLike | (TensorLike & { readonly data: ElementArray })
gives(() => layerNorm(float32, 4)).exactly<NewFloat32>(true)
gives(() => layerNorm(float16, 4)).exactly<Float16ArrayLike>(true)
gives(() => layerNorm(bits, 4, { dtype: 'bfloat16' })).exactly<NewUint16>(true)
gives(() => layerNorm(anyTensor, 4)).exactly<Narrowed<AnyTensor>>(true)
gives(() => layerNorm(float32Tensor, { axis: 1 })).exactly<Float32Tensor>(true)
gives(() => layerNorm(any, 4)).exactly<AnyResult>(true)
gives(() => rmsNorm(float32, 4)).exactly<NewFloat32>(true)
gives(() => rmsNorm(any, { axis: 1 }, { residual: any, sum: any })).exactly<AnyResult>(true)
gives(() => normalize(bits, 4, { dtype: 'float16' })).exactly<NewUint16>(true)
gives(() => normalize(any, 4)).exactly<AnyResult>(true)
gives(() => batchNorm(anyTensor, { training: true })).exactly<Narrowed<AnyTensor>>(true)
gives(() => groupNorm(float16Tensor, 2, { weight: any, bias: float16 })).exactly<Float16Tensor>(true)
gives(() => instanceNorm(anyTensor)).exactly<Narrowed<AnyTensor>>(true)
gives(() => localResponseNorm(float32Tensor, 5)).exactly<Float32Tensor>(true)

// The same of layers, at once and off the event loop.
const layer = new LayerNorm(4)
gives(() => layer.forward(float32)).exactly<NewFloat32>(true)
gives(() => layer.forward(bits, { dtype: 'float16', out: float32 })).exactly<Float32Array>(true)
gives(() => layer.forward(any)).exactly<AnyResult>(true)
gives(() => layer.forwardAsync(float16)).exactly<Promise<Float16ArrayLike>>(true)
gives(() => layer.forwardAsync(anyTensor, { transfer: true })).exactly<Promise<Narrowed<AnyTensor>>>(true)
gives(() => new RMSNorm(4).forward(any)).exactly<AnyResult>(true)
gives(() => new RMSNorm(4).forwardAsync(bits, { dtype: 'float16' })).exactly<Promise<NewUint16>>(true)
gives(() => new Normalize(4).forward(float16)).exactly<Float16ArrayLike>(true)
gives(() => new Normalize(4).forwardAsync(any)).exactly<Promise<AnyResult>>(true)
gives(() => new BatchNorm(4).forward(float16Tensor)).exactly<Float16Tensor>(true)
gives(() => new BatchNorm(4).forwardAsync(anyTensor)).exactly<Promise<Narrowed<AnyTensor>>>(true)
gives(() => new GroupNorm(2, 4).forward(float16Tensor)).exactly<Float16Tensor>(true)
gives(() => new GroupNorm(2, 4).forwardAsync(anyTensor)).exactly<Promise<Narrowed<AnyTensor>>>(true)
gives(() => new InstanceNorm(4).forward(anyTensor)).exactly<Narrowed<AnyTensor>>(true)
gives(() => new InstanceNorm(4).forwardAsync(float32Tensor)).exactly<Promise<Float32Tensor>>(true)

// With `out`: that, or a tensor like x over it.
gives(() => layerNorm(float32, 4, { out: shared })).exactly<Float32Array>(true)
gives(() => layerNorm(float32, 4, { out: float16 })).exactly<Float16ArrayLike>(true)
gives(() => layerNorm(float16, 4, { out: float32 })).exactly<Float32Array>(true)
gives(() => layerNorm(float32, 4, { out: float16Tensor })).exactly<Uint16Array>(true)
gives(() => rmsNorm(anyTensor, 4, { out: float32Tensor })).exactly<Float32Tensor>(true)
gives(() => rmsNorm(anyTensor, 4, { out: float32 })).exactly<AnyTensor & { readonly data: Float32Array }>(true)
gives(() => rmsNorm(float32Tensor, 4, { out: float16 })).exactly<TensorLike & { readonly data: Float16ArrayLike }>(true)
gives(() => groupNorm(float16Tensor, 2, { out: float32Tensor })).exactly<Float32Tensor>(true)

// Gradients: dx like x; of parameters float32 where they are, else any.
function dx<A extends { readonly dx: unknown }>(run: () => A) {
  return gives<A['dx']>(() => run().dx)
}
function dweight<A extends { readonly dweight: unknown }>(run: () => A) {
  return gives<A['dweight']>(() => run().dweight)
}
dx(() => layerNormBackward(bits, bits, 4, { dtype: 'float16' })).exactly<NewUint16>(true)
dx(() => layerNormBackward(any, any, 4, { weight: float16 })).exactly<AnyResult>(true)
dx(() => rmsNormBackward(float32, float32, 4, { dx: shared })).exactly<Float32Array>(true)
dx(() => normalizeBackward(any, float16, 4)).exactly<Float16ArrayLike>(true)
dx(() => batchNormBackward(float32, anyTensor, { dweight: float16 })).exactly<Narrowed<AnyTensor>>(true)
dx(() => groupNormBackward(float16Tensor, float16Tensor, 2)).exactly<Float16Tensor>(true)
dx(() => instanceNormBackward(any, anyTensor)).exactly<Narrowed<AnyTensor>>(true)
dx(() => layer.backward(float16, float16)).exactly<Float16ArrayLike>(true)
dx(() => new BatchNorm(4).backward(any, float32Tensor)).exactly<Float32Tensor>(true)
gives(async () => (await layer.backwardAsync(any, float32)).dx).exactly<Promise<NewFloat32>>(true)
gives(async () => (await new GroupNorm(2, 4).backwardAsync(any, float16Tensor)).dx).exactly<Promise<Float16Tensor>>(
  true
)
dweight(() => layerNormBackward(any, float16, 4, { weight: float32, bias: float32Tensor })).exactly<
  Float32Array | undefined
>(true)
dweight(() => layerNormBackward(any, float32, 4, { weight: float16 })).exactly<ElementArray | undefined>(true)
dweight(() => rmsNormBackward(any, float32, 4, { weight: float32, dweight: bits, dtype: 'float16' })).exactly<
  ElementArray | undefined
>(true)
dweight(() => batchNormBackward(any, anyTensor, { weight: bits })).exactly<ElementArray | undefined>(true)
dweight(() => layer.backward(any, bits, { dtype: 'float16' })).exactly<Float32Array | undefined>(true)
dweight(() => layer.backward(any, float32, { dweight: float16 })).exactly<ElementArray | undefined>(true)
dweight(() => new GroupNorm(2, 4).backward(any, tensor)).exactly<Float32Array | undefined>(true)

// Embeddings.
const pooler = new EmbeddingPooler(4, { precision: 'int8', scale: 'unit', pooling: 'none' })
gives(() => poolEmbeddings(anyTensor, { dtype: 'float16' }).data).exactly<Float32Array>(true)
gives(() => pooler.forward(float16)).exactly<ReturnType<Int8Array['slice']>>(true)
gives(() => pooler.forward(bits, { dtype: 'bfloat16', out: codes })).exactly<Int8Array>(true)
gives(() => pooler.forward(tensor).data).exactly<Int8Array>(true)
gives(() => pooler.forward(any)).exactly<ReturnType<Int8Array['slice']> | EmbeddingTensor<'int8'>>(true)
gives(async () => (await pooler.forwardAsync(anyTensor)).data).exactly<Promise<Int8Array>>(true)
gives(() => quantizeEmbeddings(float16, 4)).exactly<NewFloat32>(true)
gives(() => quantizeEmbeddings(float16Tensor, 4, { precision: 'ubinary' }).data).exactly<Uint8Array>(true)
gives(() => dequantizeEmbeddings(codes, 4, { precision: 'int8', scale: 'unit' })).exactly<NewFloat32>(true)
gives(() => dequantizeEmbeddings(float16Tensor, 4, { precision: 'float16' }).data).exactly<Float32Array>(true)
const calibrated = () => [float16, bits, any].map(x => calibrateEmbeddings(x, 4, { dtype: 'float16' }))

// Options that may be undefined, as code for several layers passes them: also under exactOptionalPropertyTypes.
type Maybe<T> = { [name in keyof T]-?: T[name] | undefined }
type Takes<Options> = Maybe<Options> extends Options ? true : false
const takesUndefined: [
  Takes<LayerNormOptions & LayerNormBackwardFunctionOptions & AsyncOptions>,
  Takes<RMSNormOptions & RMSNormBackwardFunctionOptions & LoadStateOptions>,
  Takes<NormalizeOptions & NormalizeBackwardFunctionOptions & LocalResponseNormOptions>,
  Takes<BatchNormLayerOptions & GroupNormOptions>,
  Takes<PoolEmbeddingsOptions & QuantizeEmbeddingsOptions>
] = [true, true, true, true, true]
const passes = (eps: number | undefined, out: Float32Array | undefined, signal: AbortSignal | undefined) => [
  layerNorm(float32, 4, { eps, out }),
  new LayerNorm(4, { eps }).forwardAsync(float32, { out, signal })
]

const x = new Float32Array(8)
const y = layerNorm(x, 4, { eps: 1e-5 })
const z = layer.forward(x)
// From TypeScript 5.7 on, new memory is over an ArrayBuffer, and from 5.9 on, a Blob takes nothing else.
const blob = () => new Blob([y, z])
const info: BackendInfo = backendInfo()
const name: BackendName = backend
const refused = [
  // @ts-expect-error: an option that there is not
  () => layerNorm(x, 4, { epsilon: 1 }),
  // @ts-expect-error: neither
  () => layerNormBackward(x, x, 4, { epsilon: 1 }),
  // @ts-expect-error: a layer has its weight
  () => layer.backward(x, x, { weight: x }),
  // @ts-expect-error: not a shape
  () => plain(x, '4'),
  // @ts-expect-error: no elements of a type that is taken
  () => layerNorm(new Float64Array(8), 4),
  // @ts-expect-error: a tensor alone
  () => groupNorm(x, 2),
  // @ts-expect-error: no type of 16 bits
  () => layerNorm(bits, 4, { dtype: 'uint16' })
]
console.log(
  JSON.stringify({
    backend: name,
    same: String(y) === String(z),
    plain: plainBackend,
    info: info.why,
    n: [refused, calibrated, takesUndefined, passes, blob].length
  })
)
