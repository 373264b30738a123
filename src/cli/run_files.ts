// What apply and embed have alike: several inputs, where their results go, and the line about each.
import { intoFiles, type Results, withInput } from './files.js'
import type { Given } from './options.js'
import { outputNames, resolveOutputs } from './outputs.js'
import { report, type Work } from './report.js'
import { isStandardOutput } from './sink.js'
import { type Source, STANDARD_INPUT } from './source.js'

/** What `--help` says of options that commands with files have. */
export const commonHelp = `  -o, --output <file or folder>  where the result goes: a file, - for standard output, or a folder, in which it gets the input's
                                 name; several inputs need a folder
      --force                    overwrite what is there; default: that is an error
      --rows <a:b>               from row a of the first dimension to before row b, as a[a:b] in Python; default: all
      --quiet                    no progress and no line about the work
      --json                     that line as JSON: rows, bytes, seconds, gigabytesPerSecond (read and written), backend, threads
  -h, --help                     this text
`

/** The same of --dtype. */
export const dtypeHelp = `      --dtype <name>             float16 or bfloat16: what the bits in files of '<u2' are; default: such files are refused`

/** Normalises or embeds one input; all is checked before `results` is asked for a place. */
export type FileWork = (source: Source, name: string, results: Results) => Promise<Work>

/**
 * Does the work of each input. `outputs` are the options that name results, with their values, the main one first; of one
 * without a value there is no result.
 */
export async function runFiles(
  command: string,
  inputs: readonly string[],
  outputs: readonly (readonly [name: string, value: string | undefined])[],
  { force, quiet, json }: Given,
  work: FileWork
): Promise<void> {
  const names = inputs.map(input => (input === '-' ? STANDARD_INPUT : input))
  const perOption: string[][] = []
  for (const [name, value] of outputs) {
    if (value !== undefined) perOption.push(await outputNames(names, name, value))
  }
  const pathsOf = (i: number) => perOption.map(paths => paths[i])
  const shown = {
    quiet: quiet === true,
    json: json === true,
    toStandardOutput: perOption.flat().some(isStandardOutput)
  }
  // Before the first of several is done, the places of all.
  if (inputs.length > 1) await resolveOutputs(perOption.flat(), force === true)
  for (const [i, input] of inputs.entries()) {
    const start = performance.now()
    const places = () => resolveOutputs(pathsOf(i), force === true)
    const results = intoFiles(places, { quiet: shown.quiet, name: names[i] })
    const done = await withInput(input, (source, name) => work(source, name, results))
    report(command, names[i], pathsOf(i)[0], done, performance.now() - start, shown)
  }
}
