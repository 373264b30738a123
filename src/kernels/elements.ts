// The types of elements in memory, the same as in native/elements.h.

/** Those that kernels compute with: the name of their tables, and the array of JavaScript that holds them. */
export const elements = { float32: 'Float32Array' } as const

export type ElementName = keyof typeof elements

/** All types, in the order of their numbers. Those of 16 bits are brought into float32 and back: stage.ts. */
export const elementTypes = ['float32', 'float16', 'bfloat16'] as const

/** The type of a tensor's elements. */
export type ElementType = (typeof elementTypes)[number]

/** Those of 16 bits. */
export const types16 = ['float16', 'bfloat16'] as const

export type Type16 = (typeof types16)[number]

/** Bytes of an element. */
export function bytesOfType(type: ElementType): number {
  return type === 'float32' ? 4 : 2
}
