// npm run matrix [-- --all] [-- WORD...]: packs the package and tries the tarball with everything that it should work with.
// Prints what ran and what did not; WORDs choose rows by their names. What is not installed on this machine is skipped;
// with --all a skipped row is a failure.
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import vm from 'node:vm'
import {
  barePath,
  bun,
  compilers,
  consumer,
  copyInto,
  deno,
  expect,
  find,
  matrix,
  nodeArm64,
  nodes,
  nodeWindows,
  npm,
  pnpm,
  root,
  run,
  Skipped,
  scratch
} from './machine.mjs'

const { values: options, positionals: words } = parseArgs({
  allowPositionals: true,
  options: { all: { type: 'boolean', default: false } }
})
const host = `${process.platform}-${process.arch}`

// --- preparation -----------------------------------------------------------------------------------------------------

function prepare() {
  if (host !== 'linux-x64') throw new Error(`the matrix runs on linux-x64, this is ${host}: see the release workflow`)
  const stamp = join(matrix, 'node_modules', '.package-lock.json')
  const lock = join(matrix, 'package-lock.json')
  const versions = file =>
    JSON.stringify(
      Object.entries(JSON.parse(readFileSync(file, 'utf8')).packages)
        .filter(([name, { optional }]) => name !== '' && !optional)
        .map(([name, { version }]) => `${name} ${version}`)
        .sort()
    )
  if (!existsSync(stamp) || versions(stamp) !== versions(lock)) {
    console.log('installing the runtimes and bundlers in matrix/ (once, about 1.5 GB)')
    run('npm', ['ci', '--force', '--no-audit', '--no-fund'], { cwd: matrix }) // --force: binaries of other platforms
  }
  // npm leaves them without the right to run where it did not install them for this platform.
  for (const file of [...Object.values(nodes), nodeArm64, bun, deno]) chmodSync(file, 0o755)

  console.log(run('npm', ['run', '--silent', 'build:prebuilds'], { cwd: root }).stdout.trimEnd())
  run('npm', ['pack', '--pack-destination', scratch], { cwd: root })
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return join(scratch, `evenkeel-${version}.tgz`)
}

let tarball = ''

/** An installed consumer that rows without an installation of their own share. */
let shared
function app() {
  if (!shared) {
    shared = consumer('app')
    copyInto(shared, tarball)
    run(nodes[20], [npm(11), 'install', '--ignore-scripts', './' + tarball.split('/').at(-1)], {
      cwd: shared,
      path: barePath(nodes[20])
    })
  }
  return shared
}
const cli = folder => join(folder, 'node_modules', 'evenkeel', 'dist', 'esm', 'cli', 'index.js')
const installed = folder => join(folder, 'node_modules', 'evenkeel')

// --- what a consumer must see ------------------------------------------------------------------------------------------

/** Reads the report of consumer/report.cjs: native kernels of the package's binary, the bits of evenkeel/js, and the arrays of float16. */
function checkReport(text, platform = 'linux-x64', half) {
  const { backend, loadedFrom, failures, same, plain, float16 } = JSON.parse(text)
  if (backend === 'js') throw new Error(`no native backend: ${text}`)
  const from = loadedFrom.replaceAll('\\', '/')
  if (!from.endsWith(`evenkeel/prebuilds/${platform}.node`)) throw new Error(`loaded from ${loadedFrom}`)
  expect('failures', failures, [])
  expect('the bits of evenkeel/js', [same, plain], [true, 'js'])
  if (half !== undefined) expect('the arrays of float16', float16, half)
  return backend
}

/** Counts the golden hashes that `evenkeel verify` found to agree; it fails where a backend of the CPU is missing. */
function checkVerify(text) {
  if (!/^compared [1-9]/m.test(text) || /DIFFER|MISSING/.test(text)) throw new Error(text)
  const { length } = text.match(/golden hashes agree/g)
  return `${length} golden hashes`
}

/** Both module systems and the golden hashes, with one runtime: `command` and its arguments before the file. */
function checkRuntime(folder, [command, ...args], context = {}, half) {
  const start = file => run(command, [...args, file], { cwd: folder, ...context }).stdout
  const backend = checkReport(start('esm.mjs'), undefined, half)
  expect('the backend under require', checkReport(start('cjs.cjs'), undefined, half), backend)
  const verified = checkVerify(run(command, [...args, cli(folder), 'verify'], { cwd: folder, ...context }).stdout)
  return `${backend}, import and require, ${half ? `float16 as ${half}, ` : ''}${verified}`
}

// --- rows --------------------------------------------------------------------------------------------------------------

const rows = []
const row = (name, work) => rows.push({ name, work })

row('tarball: contents, platforms of the binaries, size', () => {
  const prebuilds = ['linux-x64', 'linux-arm64', 'win32-x64'].filter(name =>
    existsSync(join(root, 'prebuilds', `${name}.node`))
  )
  const { output } = run(process.execPath, ['scripts/check-tarball.mjs', tarball, `--prebuilds=${prebuilds}`], {
    cwd: root
  })
  return output.trim()
})

row('tarball: Linux binaries need libc and libm, glibc 2.28 at most', () => {
  const files = ['linux-x64', 'linux-arm64'].map(name => join('prebuilds', `${name}.node`))
  if (!existsSync(join(root, files[1]))) throw new Skipped('prebuilds/linux-arm64.node was not built')
  find('readelf (binutils)', 'readelf')
  return run(process.execPath, ['scripts/check-abi.mjs', ...files], { cwd: root })
    .output.trim()
    .replace('\n', '; ')
})

row('publint --strict', () => {
  run(nodes[22], [join(matrix, 'node_modules/publint/src/cli.js'), 'run', tarball, '--strict'])
})

row('are the types wrong (node16 and bundlers)', () => {
  const attw = join(matrix, 'node_modules/@arethetypeswrong/cli/dist/index.js')
  run(nodes[22], [attw, tarball, '--profile', 'node16', '--no-color'])
})

/** One installation: `install` gets the folder and the PATH. */
function installation(name, manifest, install) {
  row(`install: ${name}`, () => {
    const folder = consumer(name.replaceAll(/\W+/g, '-'), manifest)
    copyInto(folder, tarball)
    const path = barePath(nodes[name.includes('npm 12') ? 22 : 20])
    install(folder, path, `./${tarball.split('/').at(-1)}`)
    return checkRuntime(folder, [join(path, 'node')], { path })
  })
}

for (const major of [11, 12]) {
  const npmIn = (folder, path, args) => run(join(path, 'node'), [npm(major), ...args], { cwd: folder, path })
  for (const scripts of [[], ['--ignore-scripts']]) {
    const how = scripts.length > 0 ? ' --ignore-scripts' : ''
    installation(`npm ${major} install${how}`, {}, (folder, path, file) => {
      const { output } = npmIn(folder, path, ['install', ...scripts, file])
      if (/gyp|install script|allow-scripts/i.test(output)) throw new Error(output)
    })
    installation(`npm ${major} ci${how}`, {}, (folder, path, file) => {
      npmIn(folder, path, ['install', '--package-lock-only', ...scripts, file])
      const { output } = npmIn(folder, path, ['ci', ...scripts])
      if (/gyp|install script|allow-scripts/i.test(output)) throw new Error(output)
    })
  }
}

installation('pnpm', {}, (folder, path, file) => {
  const home = join(scratch, 'pnpm')
  run(join(path, 'node'), [pnpm, 'add', '--store-dir', home, file], { cwd: folder, path })
})

installation('bun', {}, (folder, path, file) => {
  run(bun, ['add', '--cache-dir', join(scratch, 'bun-cache'), file], { cwd: folder, path })
})

row('an empty folder, scripts ignored, no compiler: import() in one line', () => {
  const folder = app()
  const path = barePath(nodes[20])
  const line = "import('evenkeel').then(e => console.log(e.backend))"
  const { stdout, stderr } = run('env', ['-i', `PATH=${path}`, 'node', '-e', line], {
    cwd: folder,
    path: process.env.PATH
  })
  expect('standard error', stderr, '')
  if (!/^(avx512|avx2|portable)\n$/.test(stdout)) throw new Error(stdout)
  const npx = run('npm', ['exec', '--', 'evenkeel', 'info'], { cwd: folder }).stdout
  if (!npx.includes(`backend:       ${stdout.trim()} (`)) throw new Error(npx)
  return `node -e "${line}" prints ${stdout.trim()}`
})

for (const [version, tsc] of Object.entries(compilers)) {
  for (const resolution of ['node16', 'nodenext', 'bundler']) {
    row(`TypeScript ${version}: moduleResolution ${resolution}`, () => {
      const folder = app()
      const module = resolution === 'bundler' ? 'esnext' : resolution
      const seen = []
      for (const ending of resolution === 'bundler' ? ['mts'] : ['mts', 'cts']) {
        const source = `types-${resolution}.${ending}`
        writeFileSync(join(folder, source), readFileSync(join(folder, 'types.ts')))
        const settings = ['--module', module, '--moduleResolution', resolution, '--strict', '--target', 'es2022']
        // The types of the package itself are checked, too: no skipLibCheck.
        const more = ['--exactOptionalPropertyTypes', '--lib', 'es2022,dom']
        run(process.execPath, [tsc, ...settings, ...more, source], { cwd: folder })
        const { stdout } = run(nodes[20], [source.replace('ts', 'js').replace(/ts$/, 'js')], { cwd: folder })
        const { backend, same, plain } = JSON.parse(stdout)
        expect('bits and evenkeel/js', [same, plain, backend !== 'js'], [true, 'js', true])
        seen.push(ending === 'mts' ? 'import' : 'require')
      }
      return `checked strictly and run, ${seen.join(' and ')}`
    })
  }
}

for (const [major, node] of Object.entries(nodes)) {
  const half = major >= 24 ? 'Float16Array' : 'Uint16Array'
  row(`Node.js ${major}`, () => {
    return `${run(node, ['--version']).stdout.trim()}: ${checkRuntime(app(), [node], {}, half)}`
  })
}
row('Bun', () => `${run(bun, ['--version']).stdout.trim()}: ${checkRuntime(app(), [bun], {}, 'Float16Array')}`)
row('Deno', () => {
  const version = run(deno, ['--version']).stdout.split('\n')[0]
  const start = [deno, 'run', '-A', '--node-modules-dir=manual']
  return `${version}: ${checkRuntime(app(), start, {}, 'Float16Array')}`
})

row('Deno without its flags', () => {
  const seen = []
  for (const [flags, denied] of [
    [[], 'Requires env access'],
    [['--allow-env', '--allow-read'], 'Requires ffi access']
  ]) {
    const args = ['run', '--no-prompt', '--node-modules-dir=manual', ...flags, 'esm.mjs']
    const { stdout, stderr } = run(deno, args, { cwd: app() })
    const { backend, same } = JSON.parse(stdout)
    expect('backend and bits', [backend, same], ['js', true])
    if (!stderr.includes(denied) || !stderr.includes('with --allow-env --allow-read --allow-ffi'))
      throw new Error(stderr)
    seen.push(flags.join(' ') || 'none')
  }
  const least = ['--allow-env', '--allow-read', '--allow-ffi']
  const args = ['run', '--no-prompt', '--node-modules-dir=manual', ...least, 'esm.mjs']
  expect('backend', JSON.parse(run(deno, args, { cwd: app() }).stdout).backend === 'js', false)
  return `js with ${seen.join(', and with ')}: the warning says why and what to do`
})

for (const [major, node] of Object.entries(nodes)) {
  row(`float16 tensors of onnxruntime-node and transformers.js, Node.js ${major}`, () => {
    const peers = join(root, 'bench')
    if (!existsSync(join(peers, 'node_modules'))) throw new Skipped('npm ci --prefix bench was not run')
    const args = ['tensors.mjs', pathToFileURL(installed(app())).href, peers]
    const { again, ...seen } = JSON.parse(run(node, args, { cwd: app() }).stdout)
    const array = major >= 24 ? 'Float16Array' : 'Uint16Array'
    const like = { array, class: true, like: true, dims: [2, 3, 5], bits: true, embeddings: [2, 5] }
    expect('tensors', [seen, again], [{ onnxruntime: like, transformers: like }, major >= 24 ? undefined : true])
    return `${array}: in and out as the class that they are`
  })
}

row('four worker_threads at once', () => {
  expect('exit codes', JSON.parse(run(nodes[20], ['threads.mjs'], { cwd: app() }).stdout), [0, 0, 0, 0])
  return 'all backends verified in each'
})

for (const [major, flag] of [
  [20, '--experimental-permission'],
  [24, '--permission']
]) {
  row(`${flag} with --allow-addons, Node.js ${major}`, () =>
    checkRuntime(app(), [nodes[major], '--no-warnings', flag, '--allow-fs-read=*', '--allow-addons'])
  )
  row(`${flag} without --allow-addons, Node.js ${major}`, () => {
    const node = [nodes[major], flag, '--allow-fs-read=*']
    const { stdout, stderr } = run(node[0], [...node.slice(1), 'esm.mjs'], { cwd: app() })
    const { backend, failures, same } = JSON.parse(stdout)
    expect('backend and bits', [backend, same, failures.length], ['js', true, 1])
    if (!/running on the TypeScript backend: .*linux-x64\.node did not load/.test(stderr)) throw new Error(stderr)
    const info = run(node[0], [...node.slice(1), cli(app()), 'info'], { cwd: app() }).stdout
    if (!/^not loaded: .*start Node\.js with --allow-addons/m.test(info)) throw new Error(info)
    return 'js; the warning and `evenkeel info` say why and what to do'
  })
}

row('linux-arm64: a real Node.js under qemu', () => {
  const qemu = find('qemu (qemu-user-static)', 'qemu-aarch64-static')
  if (!existsSync('/usr/aarch64-linux-gnu/lib'))
    throw new Skipped('the arm64 libraries (libc6-arm64-cross) are not installed')
  if (!existsSync(join(installed(app()), 'prebuilds/linux-arm64.node'))) throw new Skipped('no arm64 compiler')
  const node = [qemu, '-L', '/usr/aarch64-linux-gnu', nodeArm64]
  expect('architecture', run(node[0], [...node.slice(1), '-p', 'process.arch']).stdout, 'arm64\n')
  const report = run(node[0], [...node.slice(1), 'esm.mjs'], { cwd: app() }).stdout
  expect('backend', checkReport(report, 'linux-arm64'), 'neon')
  const verify = [...node.slice(1), cli(app()), 'verify', '--expect', 'neon']
  return `neon, ${checkVerify(run(node[0], verify, { cwd: app() }).stdout)}`
})

row('win32-x64: a real node.exe under wine', () => {
  const wine = find('wine (wine64)', 'wine64', '/usr/lib/wine/wine64')
  if (!existsSync(join(installed(app()), 'prebuilds/win32-x64.node')))
    throw new Skipped('no MinGW (g++-mingw-w64-x86-64-posix)')
  const env = { WINEPREFIX: join(scratch, 'wine'), WINEDEBUG: '-all', NODE_SKIP_PLATFORM_CHECK: '1', DISPLAY: '' }
  // node.exe under wine writes to files alone.
  const start = (args, file) => {
    const line = `${[wine, nodeWindows, ...args].map(word => `'${word}'`).join(' ')} >${file} 2>${file}.stderr`
    run('sh', ['-c', line], { cwd: app(), env })
    return readFileSync(join(app(), file), 'utf8')
  }
  try {
    const backend = checkReport(start(['esm.mjs'], 'windows.json'), 'win32-x64')
    return `${backend}, ${checkVerify(start([cli(app()), 'verify'], 'windows.txt'))}`
  } finally {
    run(find('wineserver', 'wineserver', '/usr/lib/wine/wineserver64'), ['-k', '-w'], { env, code: null })
  }
})

row('musl: a host without Node.js repeats the recorded calls of the kernels', async () => {
  const compiler = find('musl (musl-tools)', 'musl-gcc')
  const { writeCalls } = await import('./calls.mjs')
  const program = join(scratch, 'musl_host')
  const headers = join(root, 'node_modules', 'node-api-headers', 'include')
  run(compiler, ['-O1', '-rdynamic', `-I${headers}`, join(matrix, 'musl_host.c'), '-o', program])
  const calls = join(scratch, 'calls')
  await writeCalls(calls, pathToFileURL(installed(app())).href)
  return run(program, [join(installed(app()), 'prebuilds/linux-x64.node'), calls]).stdout.trim()
})

// --- bundles -----------------------------------------------------------------------------------------------------------

/** Each gets the entry, the file to write, the format (esm or cjs), and whether evenkeel stays outside. */
const bundlers = {
  async esbuild(entry, outfile, format, external) {
    const { build } = await import('esbuild')
    const options = { entryPoints: [entry], outfile, format, bundle: true, platform: 'node', logLevel: 'silent' }
    const { warnings } = await build({ ...options, external: external ? ['evenkeel'] : [] })
    expect('warnings', warnings, [])
  },
  async rolldown(entry, outfile, format, external) {
    const { rolldown } = await import('rolldown')
    const warnings = []
    const onLog = (_, { message }) => warnings.push(message)
    const bundle = await rolldown({ input: entry, platform: 'node', external: external ? ['evenkeel'] : [], onLog })
    await bundle.write({ file: outfile, format })
    await bundle.close()
    expect('warnings', warnings, [])
  },
  async webpack(entry, outfile, format, external) {
    const { default: webpack } = await import('webpack')
    const esm = format === 'esm'
    const config = {
      mode: 'production',
      target: 'node20',
      entry,
      experiments: esm ? { outputModule: true } : {},
      output: {
        path: join(outfile, '..'),
        filename: outfile.split('/').at(-1),
        library: esm ? { type: 'module' } : undefined
      },
      externals: external ? { evenkeel: `${esm ? 'module' : 'commonjs'} evenkeel` } : {}
    }
    const stats = await new Promise((resolve, reject) =>
      webpack(config, (error, stats) => (error ? reject(error) : resolve(stats)))
    )
    const { errors, warnings } = stats.toJson()
    expect(
      'errors and warnings',
      [...errors, ...warnings].map(({ message }) => message),
      []
    )
  }
}

for (const [name, bundle] of Object.entries(bundlers)) {
  row(`bundle: ${name}`, async () => {
    const entry = join(app(), 'bundled.mjs')
    const { bits } = JSON.parse(run(nodes[20], [entry], { cwd: app() }).stdout)
    const binary = join(installed(app()), 'prebuilds/linux-x64.node')
    const seen = []
    for (const format of ['cjs', 'esm']) {
      const file = `server.${format === 'esm' ? 'mjs' : 'cjs'}`
      /** Starts a bundle and returns its backend. */
      const start = (path, env) => {
        const result = JSON.parse(run(nodes[20], ['--no-warnings', path], { env }).stdout)
        expect(`${path}: bits`, result.bits, bits)
        return result.backend === 'js' ? 'js' : 'native'
      }
      const outside = join(app(), 'out', name, file)
      await bundle(entry, outside, format, true)
      const whole = join(scratch, 'bundles', `${name}-${format}`, 'app', 'dist', file)
      await bundle(entry, whole, format, false)
      const alone = start(whole)
      const named = start(whole, { EVENKEEL_NATIVE_PATH: binary })
      cpSync(join(installed(app()), 'prebuilds'), join(whole, '..', 'evenkeel'), { recursive: true })
      const found = [start(outside), alone, named, start(whole)]
      // A bundle of ES modules has no __dirname, unless the bundler provides one.
      const beside = format === 'cjs' ? 'native' : found[3]
      expect(`${format}: external, alone, EVENKEEL_NATIVE_PATH, binaries beside`, found, [
        'native',
        'js',
        'native',
        beside
      ])
      seen.push(
        `${format}: external native, bundled js, with EVENKEEL_NATIVE_PATH native, binaries beside it ${found[3]}`
      )
    }
    return seen.join('; ')
  })
}

row('file tracing (@vercel/nft, as of Next.js and Vercel) finds the binary', async () => {
  const { nodeFileTrace } = await import('@vercel/nft')
  for (const entry of ['esm.mjs', 'cjs.cjs']) {
    const { fileList } = await nodeFileTrace([join(app(), entry)], { base: app() })
    if (!fileList.has('node_modules/evenkeel/prebuilds/linux-x64.node')) throw new Error([...fileList].join('\n'))
  }
})

row('single executable of Node.js 26, as docs/deploying.md has it', async () => {
  const guide = readFileSync(join(root, 'docs', 'deploying.md'), 'utf8')
  const [, main] = /^```js\n(const \{ getRawAsset[\s\S]*?)^```$/m.exec(guide)
  const [, config] = /^```json\n([\s\S]*?)^```$/m.exec(guide)
  const folder = join(app(), 'single')
  mkdirSync(folder)
  cpSync(join(installed(app()), 'prebuilds'), join(folder, 'node_modules/evenkeel/prebuilds'), { recursive: true })
  writeFileSync(join(folder, 'main.cjs'), `${main}\nconsole.log(require('evenkeel').backend)\n`)
  writeFileSync(join(folder, 'sea.json'), config)
  await bundlers.esbuild(join(folder, 'main.cjs'), join(folder, 'bundle.cjs'), 'cjs', false)
  run(nodes[26], ['--build-sea', 'sea.json'], { cwd: folder })
  const { stdout } = run(join(folder, 'app'), [], { cwd: scratch })
  if (!/^(avx512|avx2|portable)\n$/.test(stdout)) throw new Error(stdout)
  return stdout.trim()
})

for (const condition of ['browser', 'edge-light', 'workerd']) {
  row(`bundle: evenkeel under the condition ${condition}`, async () => {
    const { build } = await import('esbuild')
    const { bits } = JSON.parse(run(nodes[20], ['bundled.mjs'], { cwd: app() }).stdout)
    // For no platform: an import of node: or a global of Node.js would be an error, in the bundle or when it runs.
    const { metafile, outputFiles } = await build({
      entryPoints: [join(app(), 'edge.mjs')],
      bundle: true,
      write: false,
      metafile: true,
      platform: 'neutral',
      mainFields: [],
      conditions: [condition],
      format: 'iife',
      logLevel: 'silent'
    })
    const inputs = Object.keys(metafile.inputs).filter(path => path.includes('node_modules'))
    for (const path of inputs) if (!path.includes('evenkeel/dist/js/')) throw new Error(`${path} was bundled`)
    const [{ text }] = outputFiles
    const trace = /node:|\brequire\b|\bprocess\b|__dirname|import\.meta/.exec(text)
    if (trace) throw new Error(`the bundle says ${trace[0]}`)
    const context = vm.createContext({})
    vm.runInContext(text, context)
    expect('result', JSON.parse(JSON.stringify(context.result)), { backend: 'js', bits })
    return `${inputs.length} files, ${text.length} characters, no trace of Node.js; ran without its globals`
  })
}

row('browser: evenkeel/js computes the golden hashes in headless Chromium', async () => {
  const chromium = find('chromium', 'chromium', 'chromium-browser', 'google-chrome')
  const { build } = await import('esbuild')
  const page = join(scratch, 'page')
  mkdirSync(page)
  await build({
    entryPoints: [join(app(), 'browser.mjs')],
    bundle: true,
    outfile: join(page, 'bundle.js'),
    platform: 'browser',
    format: 'iife',
    nodePaths: [join(matrix, 'node_modules')],
    alias: {
      GOLDEN_CASES: join(installed(app()), 'dist/esm/cases/index.js'),
      JS_TABLES: join(installed(app()), 'dist/js/esm/backend/choice.js'),
      'node:crypto': join(app(), 'crypto.mjs')
    },
    // The cases make arrays that know their type, which only kernels of the same copy see.
    plugins: [
      {
        name: 'one copy of the kernels',
        setup(build) {
          build.onResolve({ filter: /^\.\.\/kernels\// }, ({ path, importer }) =>
            /esm.cases.[^/\\]*$/.test(importer)
              ? { path: join(installed(app()), 'dist/js/esm', path.slice(3)) }
              : undefined
          )
        }
      }
    ],
    logLevel: 'silent'
  })
  writeFileSync(
    join(page, 'index.html'),
    '<!doctype html><meta charset="utf-8"><body><script src="bundle.js"></script>'
  )
  const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']
  const { stdout } = run(chromium, [
    '--headless',
    '--no-sandbox',
    ...quiet,
    '--disable-component-update',
    '--disable-sync',
    `--user-data-dir=${join(scratch, 'chromium')}`,
    '--virtual-time-budget=60000', // the page is done when its promises are
    '--dump-dom',
    pathToFileURL(join(page, 'index.html')).href
  ])
  const { backends, exported, hashes, float16 } = JSON.parse(/<body>(\{.*\})<\/body>/s.exec(stdout)?.[1] ?? 'null')
  expect('the arrays of float16', float16, 'Float16Array')
  expect('backends', backends, ['js'])
  expect(
    'exports',
    exported,
    Object.keys(await import(pathToFileURL(join(installed(app()), 'dist/js/esm/index.js')).href)).sort()
  )
  const golden = JSON.parse(readFileSync(join(installed(app()), 'test/golden.json'), 'utf8'))
  expect('golden hashes', hashes, golden)
  return `${Object.keys(hashes).length} ops, ${run(chromium, ['--version', '--no-sandbox']).stdout.trim()}`
})

// --- compiling on the user's machine -----------------------------------------------------------------------------------

row('npx evenkeel build, without and with a compiler', () => {
  const folder = consumer('own-build')
  // Links stay relative: .bin/evenkeel is that of the copy.
  cpSync(join(app(), 'node_modules'), join(folder, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  const path = barePath(process.execPath)
  const expectRefusal = words => {
    const { stderr, output } = run(join(path, 'node'), [cli(folder), 'build'], {
      cwd: folder,
      path,
      env: { npm_config_node_gyp: join(matrix, 'node_modules/npm11/node_modules/node-gyp/bin/node-gyp.js') },
      code: 1
    })
    if (!words.test(stderr)) throw new Error(output)
  }
  expectRefusal(/^evenkeel: node-addon-api expected .*npm install --save-dev node-addon-api/m)
  cpSync(join(root, 'node_modules/node-addon-api'), join(folder, 'node_modules/node-addon-api'), { recursive: true })
  expectRefusal(/expected a C\+\+ compiler.*apt-get install/)
  find('a C++ compiler', 'c++')
  const { stdout } = run(process.execPath, [npm(11), 'exec', '--', 'evenkeel', 'build'], { cwd: folder })
  if (!/^node-gyp: .+\nnode-addon-api: .+\nheaders: {2}.+\nbuilt: {4}.+evenkeel\.node$/m.test(stdout))
    throw new Error(stdout)
  checkVerify(stdout)
  const { loadedFrom } = JSON.parse(run(process.execPath, ['esm.mjs'], { cwd: folder }).stdout)
  if (!loadedFrom.endsWith('evenkeel/native/build/Release/evenkeel.node')) throw new Error(loadedFrom)
  return 'says what is missing; built, verified, and takes precedence'
})

// --- run ---------------------------------------------------------------------------------------------------------------

const results = { ok: 0, FAILED: 0, skipped: 0 }
try {
  tarball = prepare()
  for (const { name, work } of rows) {
    if (words.length > 0 && !words.some(word => name.toLowerCase().includes(word.toLowerCase()))) continue
    const start = performance.now()
    let outcome = 'ok'
    let detail = ''
    try {
      detail = (await work()) ?? ''
    } catch (error) {
      outcome = error instanceof Skipped ? 'skipped' : 'FAILED'
      detail = error.message
    }
    results[outcome]++
    const seconds = `${((performance.now() - start) / 1000).toFixed(1)} s`
    console.log(
      `${outcome.padEnd(8)}${name} (${seconds})${detail ? `\n          ${detail.replaceAll('\n', '\n          ')}` : ''}`
    )
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
console.log(`matrix: ${results.ok} passed, ${results.FAILED} failed, ${results.skipped} skipped`)
if (results.ok === 0 || results.FAILED > 0 || (options.all && results.skipped > 0)) process.exitCode = 1
