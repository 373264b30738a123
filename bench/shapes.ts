// The shapes that are timed, each with its reason.

export interface BenchShape {
  readonly rows: number
  readonly cols: number
  /** What has this shape. */
  readonly name: string
  /** Part of --quick. */
  readonly quick: boolean
}

export const shapes: readonly BenchShape[] = [
  { rows: 1, cols: 768, name: 'one embedding', quick: true },
  { rows: 8, cols: 768, name: 'a small batch', quick: false },
  { rows: 32, cols: 768, name: 'one short text', quick: true },
  { rows: 256, cols: 768, name: 'one text', quick: true },
  { rows: 1024, cols: 768, name: 'a batch, in the last cache', quick: false },
  { rows: 8192, cols: 768, name: 'a large batch, from memory', quick: true },
  { rows: 32768, cols: 768, name: 'a data set, from memory', quick: false },
  { rows: 1, cols: 128, name: 'one attention head', quick: true },
  { rows: 512, cols: 4096, name: 'a prompt of a 7B model', quick: false }
]
