// Writes what is made of a run's results: its report, its charts and, of a machine's best backend, the README's part.
// usage: npx tsx bench/write.ts amd-epyc-avx512, to make them anew from bench/results/amd-epyc-avx512/results.json
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { draw } from './charts.ts'
import { fileNameOf } from './machine.ts'
import { type ChartName, charts, readmePart, report, withPart } from './report.ts'
import type { Machine, Results } from './results.ts'

const folderOf = (name: string) => new URL(`results/${name}/`, import.meta.url)
const readme = new URL('../README.md', import.meta.url)

/** What a machine's folder is called: its CPU and best backend. */
export const folderName = ({ cpu, backend }: Pick<Machine, 'cpu' | 'backend'>) => fileNameOf(`${cpu} ${backend}`)

/** All but results.json. */
async function writeTables(name: string, results: Results): Promise<void> {
  const folder = folderOf(name)
  writeFileSync(new URL('README.md', folder), report(results))
  for (const chart of Object.keys(charts) as ChartName[]) {
    writeFileSync(new URL(`${chart}.svg`, folder), await draw(chart, results))
  }
  // A run of a lesser backend stands beside that of the best.
  const { backend, backends } = results.machine
  if (backend === backends[0]) writeFileSync(readme, withPart(readFileSync(readme, 'utf8'), readmePart(results, name)))
}

/** JSON of which objects and arrays without others inside stand on one line. */
const textOf = (results: Results) =>
  `${JSON.stringify(results, null, 1).replace(/\{[^{}[\]]*\}|\[[^{}[\]]*\]/g, one => one.replace(/\s*\n\s*/g, ' '))}\n`

/** bench/results/<cpu>-<backend>/ and, of the CPU's best backend, the README's part; the folder's name. */
export async function write(results: Results): Promise<string> {
  const name = folderName(results.machine)
  mkdirSync(folderOf(name), { recursive: true })
  writeFileSync(new URL('results.json', folderOf(name)), textOf(results))
  await writeTables(name, results)
  return name
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const name = process.argv[2]
  await writeTables(name, JSON.parse(readFileSync(new URL('results.json', folderOf(name)), 'utf8')))
}
