// Embeddings as Markdown.
import { type Load, loadNames } from './embeddings_problem.ts'
import type { Results, Time } from './results.ts'
import { head, row, shapeOf } from './tables.ts'

const milliseconds = (nanoseconds: number) => (nanoseconds / 1e6).toFixed(nanoseconds < 1e7 ? 3 : 1)
const microseconds = (nanoseconds: number) => (nanoseconds / 1e3).toFixed(1)
const both = ({ median, quickest }: Time, text: (nanoseconds: number) => string) =>
  `${text(median)} (${text(quickest)})`

const loads: { readonly [load in Load]: string } = {
  idle: 'nothing',
  dropped: 'the memory alone, transferred and dropped, no pooling',
  shared: '`forwardAsync` over a SharedArrayBuffer',
  steady: '`forwardAsync` with `transfer`',
  full: '`forwardAsync` with `transfer`, four under way all the time'
}

export function embeddingLines({ embeddings }: Results): string[] {
  if (!embeddings) return []
  const { shapes, beside, loop } = embeddings
  return [
    ...head('ms of a call, median (quickest)', ...shapes.map(({ name }) => name)),
    ...Object.keys(shapes[0].times).map(who => row(who, ...shapes.map(({ times }) => both(times[who], milliseconds)))),
    '',
    'A call beside its kernels:',
    '',
    ...head('µs', 'kernels', 'forward, mask', 'with lengths', 'all real', 'mask alone', 'forward less kernels'),
    ...beside.map(({ name, times }) => {
      const [kernels, forward] = times
      const rest = { median: forward.median - kernels.median, quickest: forward.quickest - kernels.quickest }
      return row(name, ...[...times, rest].map(time => both(time, microseconds)))
    }),
    '',
    `The longest pause of the event loop in a window of ${loop.jobs} calls, one every ${loop.pace} ms, ${shapeOf(loop)}:`,
    `the median of ${loop.windows} windows each, in turn.`,
    '',
    ...head('while this runs', 'longest pause, ms', 'more than idle'),
    ...loadNames.map(load =>
      row(loads[load], loop.longest[load].toFixed(2), (loop.longest[load] - loop.longest.idle).toFixed(2))
    ),
    ''
  ]
}
