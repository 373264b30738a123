// The types of results: what goes in as one comes back as one. Nothing here exists when a program runs.
import type { EmbeddingArray, EmbeddingArrays, EmbeddingTensor, Precision } from './codes.js'
import type { Bits16, Float16ArrayLike } from './elements.js'
import type { Operand, TensorLike } from './tensor.js'

/** An array of elements that operations take, and give. */
export type ElementArray = Float32Array | Float16ArrayLike | Bits16

/** New memory of an array's kind, as its `slice` has it: from TypeScript 5.7 on a Float32Array<ArrayBuffer>. */
type New<A> = A extends { slice(): infer Copy } ? Copy : A

/** A new Float32Array: from TypeScript 5.7 on, Float32Array<ArrayBuffer>. */
export type NewFloat32Array = New<Float32Array>

/** The arrays of elements among those that a tensor's `data` may be. */
type ElementsAmong<Data> = [Extract<Data, ElementArray>] extends [never] ? ElementArray : Extract<Data, ElementArray>

/** A tensor whose `data` is known to be elements. */
type TensorOfElements<T extends TensorLike> = T['data'] extends ElementArray
  ? T
  : T & { readonly data: ElementsAmong<T['data']> }

/** The array that an operand is, or that a tensor holds. */
type ArrayOf<O> = O extends TensorLike ? ElementsAmong<O['data']> : O

/** A tensor like T whose data is this array: of T's own type, where T says that it may be. */
type TensorOver<T extends TensorLike, A> = A extends T['data']
  ? T & { readonly data: A }
  : TensorLike & { readonly data: A }

/**
 * What a call with x and `out` returns. Without `out`: for an array a new array of its kind; for a tensor one of x's class, whose
 * `data` is known to be an array of elements. With `out`: for an array the array of `out`; for a tensor `out` where that is a
 * tensor, else one over the array.
 */
export type Result<X extends Operand, Out extends Operand | undefined = undefined> = Out extends Operand
  ? X extends TensorLike
    ? Out extends TensorLike
      ? Out
      : TensorOver<X, Out>
    : ArrayOf<Out>
  : X extends TensorLike
    ? TensorOfElements<X>
    : New<X>

/** What a call returns that makes embeddings of this precision of x: for a tensor a tensor, else an array. */
export type Embeddings<
  X extends EmbeddingArray | TensorLike,
  P extends Precision,
  Out extends EmbeddingArray | TensorLike | undefined = undefined
> = X extends TensorLike ? EmbeddingTensor<P> : Out extends undefined ? New<EmbeddingArrays[P]> : EmbeddingArrays[P]
