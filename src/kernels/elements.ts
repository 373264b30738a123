// The types of elements in memory, the same rows as native/elements.h: the name of their kernels, and the array of JavaScript
// that holds them.

export const elements = { float32: 'Float32Array' } as const

export type ElementName = keyof typeof elements
