// evenkeel build: compiles the native binary on this machine; it then takes precedence over the one of the package.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { binary, compile, findHeaders, findNodeAddonApi, findNodeGyp, missingTools } from './compile.js'
import { type Command, parsed } from './usage.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

export const build: Command = {
  help: `Usage: evenkeel build [--verbose]

Compiles the native kernels on this machine, from the sources in the package, and verifies them. From then on they are used
in place of the binary that came with the package. Needs node-gyp, node-addon-api, Python 3, make and a C++17 compiler (on
Windows the C++ build tools of Visual Studio). To undo it, delete the folder native/build in the package.

Options:
      --verbose  print what the compiler prints; default: where the build fails
  -h, --help     this text
`,
  async run(args) {
    const options = { verbose: { type: 'boolean', default: false } } as const
    const { values } = parsed(() => parseArgs({ args: [...args], options }), Object.keys(options))
    const gyp = findNodeGyp()
    if (gyp === undefined) throw new Error('node-gyp expected, got none: npm install --save-dev node-gyp')
    const addonApi = findNodeAddonApi()
    if (addonApi === undefined) {
      throw new Error(
        'node-addon-api expected (its headers), got none: npm install --save-dev node-addon-api, or set ' +
          'EVENKEEL_NODE_ADDON_API to the folder that has napi.h'
      )
    }
    const missing = missingTools()
    if (missing.length > 0) {
      throw new Error(
        `on the PATH expected ${missing.join(', ')}, got none: on Debian and Ubuntu "apt-get install g++ make python3", ` +
          'on Alpine "apk add g++ make python3", on macOS "xcode-select --install"'
      )
    }
    console.log(`node-gyp: ${gyp}`)
    console.log(`node-addon-api: ${addonApi}`)
    console.log(`headers:  ${findHeaders() ?? `those of Node.js ${process.versions.node}, downloaded by node-gyp`}`)
    const { ok, output } = compile(fileURLToPath(new URL('../../../native', import.meta.url)))
    if (values.verbose || !ok) process.stdout.write(output)
    if (!ok) throw new Error('the build failed; what node-gyp printed stands above')
    console.log(`built:    ${root}${binary}`)
    const env = { ...process.env, EVENKEEL_NATIVE_PATH: `${root}${binary}` }
    const cli = fileURLToPath(new URL('index.js', import.meta.url))
    const verified = spawnSync(process.execPath, [cli, 'verify'], { env, stdio: 'inherit' })
    return verified.status ?? 1
  }
}
