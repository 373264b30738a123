// Our calls as Markdown.
import type { Results } from './results.ts'
import { head, row } from './tables.ts'
import { thousands } from './targets.ts'

/** Calls that stand in no comparison, by the backend. */
export function ownCallLines({ calls = {} }: Results): string[] {
  return Object.entries(calls).flatMap(([backend, { rows, small, axes, padding, promises, kinds }]) => {
    const ms = (value: number) => value.toFixed(2)
    return [
      ...head(`LayerNorm of one row, ${backend}, ns, the quickest; d =`, ...rows.map(one => thousands(one.elements))),
      row('the kernel without Node.js', ...rows.map(({ kernel }) => (kernel === undefined ? '' : thousands(kernel)))),
      row('prepared layer', ...rows.map(({ layer }) => thousands(layer))),
      row('function, weight and bias', ...rows.map(one => thousands(one.function))),
      '',
      ...head(`${backend}`, 'time'),
      ...Object.entries(small).map(([name, time]) => row(name, `${thousands(time)} ns`)),
      row(`layerNorm over the axes 0 and 2 of [${axes.dims.join(', ')}]`, `${ms(axes.call)} ms`),
      row('the same, a plain loop', `${ms(axes.plain)} ms`),
      row(`LayerNorm of [${padding.dims.join(', ')}]`, `${ms(padding.none)} ms`),
      row('the same, 45 % padded by `lengths`', `${ms(padding.lengths)} ms`),
      row('the same, by `mask`', `${ms(padding.mask)} ms`),
      row(`a prepared call before, and after ${kinds.count} other kinds`, `${kinds.before}, ${kinds.after} ns`),
      ...Object.entries(promises).map(([name, time]) => row(`until the Promise of ${name}`, `${ms(time)} ms`)),
      ''
    ]
  })
}
