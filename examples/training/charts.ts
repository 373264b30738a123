// Draws the charts of docs/training/ from the results, by Vega-Lite, which has a package.json of its own beside this file.
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type ChartName, specs } from './chart_specs.ts'
import { config } from './chart_style.ts'
import type { Results } from './results.ts'

interface Vega {
  parse(spec: object): object
  View: new (runtime: object, options: { renderer: 'none' }) => { toSVG(): Promise<string>; finalize(): void }
}
interface VegaLite {
  compile(spec: object): { spec: object }
}

const packages = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)

/** Installs Vega-Lite where it is missing (25 MB). */
export function installCharts(): void {
  if (['vega', 'vega-lite'].every(name => existsSync(`${packages}node_modules/${name}`))) return
  console.log('installing Vega-Lite in examples/training/ (once, 25 MB)')
  const npm = process.env.npm_execpath
  const [command, args] = npm ? [process.execPath, [npm, 'ci']] : ['npm', ['ci']]
  // npm hands its settings down as variables; the .npmrc of that folder is to count.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(config|package)_local/.test(name))
  )
  const { status } = spawnSync(command, args, {
    cwd: packages,
    stdio: 'inherit',
    env,
    shell: process.platform === 'win32'
  })
  if (status !== 0) throw new Error(`npm ci in examples/training/ ended with ${status}`)
}

/** Writes each chart as SVG: the same bytes for the same results. */
export async function drawCharts(results: Results, folder: URL): Promise<void> {
  const load = (name: string) => import(pathToFileURL(require.resolve(name)).href)
  const [vega, vegaLite] = (await Promise.all([load('vega'), load('vega-lite')])) as [Vega, VegaLite]
  for (const name of Object.keys(specs) as ChartName[]) {
    const { spec } = vegaLite.compile({ config, ...specs[name](results) })
    const view = new vega.View(vega.parse(spec), { renderer: 'none' })
    const svg = await view.toSVG()
    view.finalize()
    // Without what no eye sees: a tenth of a pixel is enough.
    const short = svg
      .replace(/ (class|role|aria-\w+|pointer-events)="[^"]*"/g, '')
      .replace(/ (d|transform)="[^"]*"/g, places =>
        places.replace(/\d+\.\d{2,}/g, digits => String(Math.round(Number(digits) * 10) / 10))
      )
    writeFileSync(new URL(`${name}.svg`, folder), `${short}\n`)
  }
}
