import { expect } from 'vitest'

/** The message of the error that a call throws. */
export const message = (call: () => unknown) => {
  let error: unknown
  try {
    call()
  } catch (thrown) {
    error = thrown
  }
  expect(error).toBeInstanceOf(Error)
  return (error as Error).message
}
