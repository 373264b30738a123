// A table of targets: numbers become figures, and figures are met or not.

/** What was seen, and whether it is enough. */
export interface Figure {
  readonly text: string
  readonly met: boolean
}

/** One line of the table. */
export interface Target {
  readonly case: string
  readonly goal: string
  /** One for each of the backends; undefined where it was not measured. */
  readonly figures: readonly (Figure | undefined)[]
}

type Unit = 'x' | ' ns' | ' ms' | '%'
const textOf = (value: number, unit: Unit) => {
  if (unit === '%') return `${(100 * value).toFixed(0)} %`
  const digits = unit === ' ns' || Math.abs(value) >= 100 ? 0 : Math.abs(value) < 10 ? 2 : 1
  return value.toFixed(digits) + unit
}
export const least = (values: readonly number[]) => Math.min(...values.filter(Number.isFinite))
export const most = (values: readonly number[]) => Math.max(...values.filter(Number.isFinite))
export function median(values: readonly number[]): number {
  const known = values.filter(Number.isFinite).sort((a, b) => a - b)
  return known[known.length >> 1] ?? Number.NaN
}
const goalOf = (value: number, unit: Unit) => (unit === '%' ? textOf(value, unit) : value + unit)

/** Collects targets. */
export class Table {
  readonly targets: Target[] = []
  readonly columns: readonly string[]

  constructor(columns: readonly string[]) {
    this.columns = columns
  }

  #add(what: string, goal: string, figure: (backend: string) => Figure | undefined): void {
    this.targets.push({ case: what, goal, figures: this.columns.map(figure) })
  }

  atLeast(what: string, goal: number, value: (backend: string) => number, unit: Unit = 'x'): void {
    this.#add(what, `at least ${goalOf(goal, unit)}`, backend => {
      const seen = value(backend)
      return Number.isFinite(seen) ? { text: textOf(seen, unit), met: seen >= goal } : undefined
    })
  }

  atMost(what: string, goal: number, value: (backend: string) => number, unit: Unit = 'x'): void {
    this.#add(what, `at most ${goalOf(goal, unit)}`, backend => {
      const seen = value(backend)
      return Number.isFinite(seen) ? { text: textOf(seen, unit), met: seen <= goal } : undefined
    })
  }

  /** What others take of each case, at least, but for cases of ours that take so few copies that no more can be had. */
  atLeastOrCopies(what: string, goal: number, copies: number, pairs: (backend: string) => [number, number][]): void {
    this.#add(what, `at least ${goal}x, or ${copies} copies`, backend => {
      const known = pairs(backend).filter(([others]) => Number.isFinite(others))
      const open = known.filter(([, own]) => !(own <= copies)).map(([others]) => others)
      if (known.length === 0) return undefined
      if (open.length === 0) return { text: `${copies} copies`, met: true }
      return { text: textOf(least(open), 'x'), met: least(open) >= goal }
    })
  }
}
