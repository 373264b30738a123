// Shards in Parquet and Arrow IPC. Their packages are those of examples/parquet, beside a copy of evenkeel as npm installs it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { npyFolder } from '../support/npy_folder.ts'
import { node, root } from '../support/process.ts'

const packages = join(root, 'examples/parquet')
const installed = existsSync(join(packages, 'node_modules'))
if (!installed) console.log('examples/parquet is not installed (npm ci in it): its tests are skipped')
const hasRedis = spawnSync('redis-server', ['--version']).status === 0

const { at, save, read } = npyFolder()
const require = createRequire(join(packages, 'package.json'))
const channels = 6

interface Run {
  readonly code: number
  readonly stdout: string
}

/** Runs what was copied, in this process: the packages of tables are found only from there. */
async function corpus(...args: string[]): Promise<Run> {
  const { corpus } = await import(at('with/node_modules/evenkeel/dist/esm/cli/corpus.js'))
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  const error = vi.spyOn(console, 'error').mockImplementation(() => {})
  try {
    const code = await corpus.run(['run', '--jobs', '1', ...args, '--json'])
    return { code, stdout: log.mock.calls.join('\n') }
  } finally {
    log.mockRestore()
    error.mockRestore()
  }
}
const commandOf = (home: string) => at(`${home}/node_modules/evenkeel/dist/esm/cli/index.js`)
const failed = ({ stdout }: Run) => JSON.parse(stdout.trim().split('\n').at(-1) as string).failed
const shardEvents = ({ stdout }: Run) => stdout.split('\n').filter(line => line.includes('"event":"shard"'))

function install(home: string, names: readonly string[]): void {
  const modules = at(`${home}/node_modules`)
  mkdirSync(join(modules, 'evenkeel'), { recursive: true })
  for (const name of ['package.json', 'dist']) {
    cpSync(join(root, name), join(modules, 'evenkeel', name), { recursive: true })
  }
  symlinkSync(join(root, 'native'), join(modules, 'evenkeel/native'))
  const ofRoot = ['cli-progress', 'tinyglobby', 'bullmq', 'ioredis'].map(name => join(root, 'node_modules', name))
  for (const path of [...ofRoot, ...names.map(name => join(packages, 'node_modules', name))]) {
    symlinkSync(path, join(modules, path.split('/').at(-1) as string))
  }
}

const bytesOf = (array: ArrayBufferView) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)
const floats = (rows: number, phase: number) =>
  Float32Array.from({ length: rows * channels }, (_, i) => Math.sin(i * 1.7 + phase) * (phase + 1))

describe.skipIf(!installed)(
  'behaviour: evenkeel corpus with tables (npm ci --prefix examples/parquet)',
  () => {
    // Not typed where they are not installed.
    // biome-ignore lint/suspicious/noExplicitAny: see above
    let [arrow, parquet]: [any, any] = [undefined, undefined]
    type Column = unknown

    const item = (nullable = true) => new arrow.Field('item', new arrow.Float32(), nullable)
    function list(values: Float32Array, lengths: readonly number[]): Column {
      const offsets = Int32Array.of(0, ...lengths)
      for (let i = 1; i < offsets.length; i++) offsets[i] += offsets[i - 1]
      const child = arrow.makeData({ type: new arrow.Float32(), length: values.length, nullCount: 0, data: values })
      const about = { length: lengths.length, nullCount: 0, valueOffsets: offsets, child }
      return arrow.makeVector([arrow.makeData({ type: new arrow.List(item()), ...about })])
    }
    function fixed(values: Float32Array, size = channels): Column {
      const child = arrow.makeData({ type: new arrow.Float32(), length: values.length, nullCount: 0, data: values })
      const type = new arrow.FixedSizeList(size, item())
      return arrow.makeVector([arrow.makeData({ type, length: values.length / size, nullCount: 0, child })])
    }
    const even = (values: Float32Array) => list(values, new Array(values.length / channels).fill(channels))
    const others = (rows: number) => {
      const numbers = Array.from({ length: rows }, (_, i) => i)
      const vector = (make: (i: number) => unknown, type: unknown) => arrow.vectorFromArray(numbers.map(make), type)
      return {
        id: vector(BigInt, new arrow.Int64()),
        text: vector(i => (i % 3 === 1 ? null : `text ${i}`), new arrow.Utf8()),
        kind: vector(i => ['a', 'b', 'c'][i % 3], new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32())),
        flag: vector(i => i % 2 === 0, new arrow.Bool()),
        tags: vector(
          i => (i === 2 ? null : [`t${i}`, 'x']),
          new arrow.List(new arrow.Field('item', new arrow.Utf8(), true))
        )
      }
    }
    type Batch = { [name: string]: Column }
    /** A table of these batches, with metadata of the schema. */
    function tableOf(...parts: Batch[]) {
      const tables = parts.map(part => new arrow.Table(part))
      const fields = tables[0].schema.fields
      const schema = new arrow.Schema(fields, new Map([['origin', 'a model']]))
      return new arrow.Table(
        schema,
        tables.flatMap(table =>
          table.batches.map((batch: { data: unknown }) => new arrow.RecordBatch(schema, batch.data))
        )
      )
    }
    function write(name: string, table: unknown, rowsOfGroup = 1000): void {
      const file = name.endsWith('.arrow')
      const stream = Buffer.from(arrow.tableToIPC(table, file ? 'file' : 'stream'))
      const properties = () => new parquet.WriterPropertiesBuilder().setMaxRowGroupSize(rowsOfGroup).build()
      const bytes = () => parquet.writeParquet(parquet.Table.fromIPCStream(stream), properties())
      writeFileSync(at(name), file ? stream : bytes())
    }
    const open = (name: string) => {
      const bytes = readFileSync(at(name))
      return arrow.tableFromIPC(name.endsWith('.arrow') ? bytes : parquet.readParquet(bytes).intoIPCStream())
    }
    const text = (column: Iterable<unknown>) =>
      JSON.stringify([...column], (_, value) => (typeof value === 'bigint' ? `${value}n` : value))
    type Values = { values: Uint8Array; length: number }
    // biome-ignore lint/suspicious/noExplicitAny: not typed here
    const valuesOf = (column: any) =>
      Buffer.concat(
        column.data.map(({ children: [child] }: { children: [Values] }) =>
          bytesOf(child.values.subarray(0, child.length))
        )
      )

    /** Everything but the embeddings is as it was. */
    function expectOthers(result: string, input: string): void {
      const [after, before] = [open(result), open(input)]
      // biome-ignore lint/suspicious/noExplicitAny: not typed here
      const names = (table: any) => table.schema.fields.map(({ name }: { name: string }) => name)
      expect(names(after)).toEqual(names(before))
      expect(after.schema.metadata.get('origin')).toBe('a model')
      expect(after.numRows).toBe(before.numRows)
      for (const [i, name] of names(before).entries()) {
        if (name === 'vector') continue
        expect(text(after.getChild(name)), name).toBe(text(before.getChild(name)))
        expect(String(after.schema.fields[i].type)).toBe(String(before.schema.fields[i].type))
      }
    }

    const rows = [5, 9, 7]
    const data = rows.map(floats)

    beforeAll(() => {
      arrow = require('apache-arrow')
      parquet = require('parquet-wasm')
      install('with', ['parquet-wasm', 'apache-arrow'])
      install('without', [])
      for (const folder of ['npy', 'tables', 'bad']) mkdirSync(at(folder))
      for (const [i, values] of data.entries()) save(`npy/s${i}.npy`, values, [rows[i], channels])
      const [zero, one, two] = rows.map(others)
      write('tables/s0.parquet', tableOf({ id: zero.id, vector: even(data[0]), text: zero.text, kind: zero.kind }), 2)
      const halves = [data[1].subarray(0, 4 * channels), data[1].subarray(4 * channels)]
      const part = (from: number, to: number) => ({ flag: one.flag.slice(from, to), tags: one.tags.slice(from, to) })
      write(
        'tables/s1.arrow',
        tableOf({ vector: fixed(halves[0]), ...part(0, 4) }, { vector: fixed(halves[1]), ...part(4, 9) })
      )
      write('tables/s2.parquet', tableOf({ vector: fixed(data[2]), ...two }), 3)
    })

    const names = ['s0.parquet', 's1.arrow', 's2.parquet']
    const ops: [folder: string, args: string[]][] = [
      ['layer', ['layer-norm', '--eps', '1e-3']],
      ['training', ['batch-norm', '--training']],
      ['float', ['embed', '--pooling', 'none', '--dimensions', '4']],
      ['half', ['embed', '--pooling', 'none', '--precision', 'float16']],
      ['bfloat', ['embed', '--pooling', 'none', '--precision', 'bfloat16']],
      ['ranges', ['embed', '--pooling', 'none', '--precision', 'int8', '--scale', 'ranges']],
      ['binary', ['embed', '--pooling', 'none', '--precision', 'ubinary']]
    ]
    it.each(ops)('%s gives the bits of .npy, and leaves the other columns as they are', async (folder, args) => {
      expect(await corpus(...args, '--in', at('npy/*.npy'), '--out-dir', at(`${folder}-npy`))).toMatchObject({
        code: 0
      })
      expect(await corpus(...args, '--in', at('tables/*'), '--out-dir', at(folder))).toMatchObject({ code: 0 })
      const results = readdirSync(at(folder)).filter(name => !name.endsWith('.json'))
      expect(results.sort()).toEqual(names)
      for (const [i, name] of names.entries()) {
        const column = open(`${folder}/${name}`).getChild('vector')
        expect(valuesOf(column).equals(read(`${folder}-npy/s${i}.npy`).bytes), name).toBe(true)
        expectOthers(`${folder}/${name}`, `tables/${name}`)
      }
      if (existsSync(at(`${folder}/statistics.json`))) {
        expect(readFileSync(at(`${folder}/statistics.json`))).toEqual(readFileSync(at(`${folder}-npy/statistics.json`)))
      }
    })

    const typed: [folder: string, args: string[]][] = [
      ['half', []],
      ['half', ['--out-dtype', 'bfloat16']],
      ['half', ['--out-dtype', 'float32']],
      ['bfloat', ['--dtype', 'bfloat16']],
      ['bfloat', ['--dtype', 'bfloat16', '--out-dtype', 'float16']]
    ]
    it.each(typed)('columns of 16 bits (%s, %j) have the bits of .npy', async (from, options) => {
      const to = ['16', from, ...options].join('')
      for (const end of ['', '-npy']) {
        const args = ['layer-norm', ...options, '--in', at(`${from}${end}/*.{npy,parquet,arrow}`)]
        expect(await corpus(...args, '--out-dir', at(`${to}${end}`))).toMatchObject({ code: 0 })
      }
      for (const [i, name] of names.entries()) {
        const column = open(`${to}/${name}`).getChild('vector')
        expect(valuesOf(column).equals(read(`${to}-npy/s${i}.npy`).bytes), name).toBe(true)
        expectOthers(`${to}/${name}`, `tables/${name}`)
      }
    })

    it('calibrate takes the statistics of the column', async () => {
      for (const [from, to] of [
        ['npy', 'calibrated-npy'],
        ['tables', 'calibrated']
      ]) {
        expect(await corpus('calibrate', '--in', at(`${from}/*`), '--out-dir', at(to))).toMatchObject({ code: 0 })
      }
      const statistics = (folder: string) => readFileSync(at(`${folder}/statistics.json`), 'utf8')
      expect(statistics('calibrated')).toBe(statistics('calibrated-npy'))
    })

    it('writes the same bytes again, does only what changed, and --verify finds what is damaged', async () => {
      const args = (to: string) => ['normalize', '--in', at('tables/*'), '--out-dir', at(to)]
      expect(await corpus(...args('once'))).toMatchObject({ code: 0 })
      expect(await corpus(...args('twice'), '--jobs', '3')).toMatchObject({ code: 0 })
      for (const name of names) expect(readFileSync(at(`twice/${name}`))).toEqual(readFileSync(at(`once/${name}`)))
      expect(shardEvents(await corpus(...args('once')))).toHaveLength(0)
      rmSync(at('once/s1.arrow'))
      expect(shardEvents(await corpus(...args('once')))).toHaveLength(1)
      const whole = readFileSync(at('once/s2.parquet'))
      const damaged = Buffer.from(whole)
      damaged[damaged.length >> 1] ^= 1
      writeFileSync(at('once/s2.parquet'), damaged)
      expect(await corpus(...args('once'), '--verify')).toMatchObject({ code: 0 })
      for (const name of names) expect(readFileSync(at(`once/${name}`))).toEqual(readFileSync(at(`twice/${name}`)))
      // Another column or format is other work.
      expect(shardEvents(await corpus(...args('once'), '--column', 'vector'))).toHaveLength(3)
    })

    it('--format writes another one, whose end the name gets', async () => {
      const run = async (from: string, to: string, ...more: string[]) =>
        expect(
          await corpus('layer-norm', '--eps', '1e-3', '--in', at(from), '--out-dir', at(to), ...more)
        ).toMatchObject({
          code: 0
        })
      await run('tables/*', 'as-npy', '--format', 'npy')
      await run('tables/*', 'as-arrow', '--format', 'arrow')
      await run('npy/*', 'as-parquet', '--format', 'parquet')
      await run('npy/*', 'named', '--format', 'arrow', '--column', 'e')
      for (const [i, name] of names.entries()) {
        const expected = read(`layer-npy/s${i}.npy`).bytes
        expect(readFileSync(at(`as-npy/s${i}.npy`))).toEqual(readFileSync(at(`layer-npy/s${i}.npy`)))
        expect(valuesOf(open(`as-arrow/s${i}.arrow`).getChild('vector')).equals(expected)).toBe(true)
        expectOthers(`as-arrow/s${i}.arrow`, `tables/${name}`)
        expect(valuesOf(open(`as-parquet/s${i}.parquet`).getChild('embedding')).equals(expected)).toBe(true)
        expect(valuesOf(open(`named/s${i}.arrow`).getChild('e')).equals(expected)).toBe(true)
        expect(existsSync(at(`named/s${i}.arrow.manifest.json`))).toBe(true)
      }
      save('cube.npy', floats(4, 0), [2, 2, channels])
      const cube = await corpus('layer-norm', at('cube.npy'), '--out-dir', at('cube'), '--format', 'parquet')
      expect(failed(cube)).toEqual([
        { input: at('cube.npy'), message: expect.stringContaining('expected 2 dimensions, got (2, 2, 6)') }
      ])
    })

    it('reads a stream of Arrow IPC, several records, NaN to the bit, and columns in the same memory', async () => {
      const values = floats(4, 1)
      new Uint32Array(values.buffer).set([0x7fc12345, 0xff800000], 3)
      const vector = fixed(values)
      const table = tableOf({ vector, copy: even(values), text: others(4).text })
      const writer = arrow.RecordBatchStreamWriter.writeAll(table)
      const chunks = [...writer._sink._values] as Uint8Array[]
      mkdirSync(at('nan'))
      writeFileSync(at('nan/s.arrow'), Buffer.concat(chunks))
      const run = await corpus('layer-norm', at('nan/s.arrow'), '--out-dir', at('nan-out'), '--column', 'vector')
      expect(failed(run)).toEqual([])
      save('nan.npy', values, [4, channels])
      expect(await corpus('layer-norm', at('nan.npy'), '--out-dir', at('nan-npy'))).toMatchObject({ code: 0 })
      expect(valuesOf(open('nan-out/s.arrow').getChild('vector')).equals(read('nan-npy/nan.npy').bytes)).toBe(true)
      expect(valuesOf(open('nan-out/s.arrow').getChild('copy')).equals(bytesOf(values))).toBe(true)
    })

    it('takes tables without rows where the length of a row is known', async () => {
      mkdirSync(at('empty'))
      const none = new Float32Array(0)
      for (const name of ['f.parquet', 'f.arrow'])
        write(`empty/${name}`, tableOf({ vector: fixed(none), ...others(0) }))
      write('empty/l.parquet', tableOf({ vector: list(none, []) }))
      const run = await corpus('layer-norm', '--in', at('empty/*'), '--out-dir', at('empty-out'))
      expect(failed(run)).toEqual([
        { input: at('empty/l.parquet'), message: expect.stringContaining('column vector: expected rows, got none') }
      ])
      for (const name of ['f.parquet', 'f.arrow']) {
        expect(open(`empty-out/${name}`).numRows).toBe(0)
        expectOthers(`empty-out/${name}`, `empty/${name}`)
      }
    })

    it('names the row that is null, holds null or has another length, and what a file is', async () => {
      const four = floats(4, 0)
      const float = new arrow.Float32()
      const lists = (rows: unknown[]) => arrow.vectorFromArray(rows, new arrow.List(item()))
      write('bad/null.parquet', tableOf({ vector: lists([[1, 2], null, [3, 4]]) }))
      write(
        'bad/part.arrow',
        tableOf(
          { vector: lists([[1, 2]]) },
          {
            vector: lists([
              [3, 4],
              [5, null]
            ])
          }
        )
      )
      write('bad/ragged.parquet', tableOf({ vector: list(four, [6, 6, 5, 7]) }), 2)
      write(
        'bad/two.parquet',
        tableOf({ a: fixed(four), b: even(four), c: arrow.vectorFromArray([1, 2, 3, 4], float) })
      )
      write(
        'bad/double.arrow',
        tableOf({ vector: arrow.vectorFromArray([[1]], new arrow.List(new arrow.Field('i', new arrow.Float64()))) })
      )
      writeFileSync(at('bad/text.parquet'), 'id,vector')
      writeFileSync(at('bad/void.arrow'), '')
      writeFileSync(at('bad/cut.parquet'), readFileSync(at('tables/s0.parquet')).subarray(0, -9))
      writeFileSync(at('bad/cut.arrow'), readFileSync(at('tables/s1.arrow')).subarray(0, -9))
      const run = await corpus('normalize', '--in', at('bad/*'), '--out-dir', at('bad-out'))
      expect(run.code).toBe(1)
      const messages = Object.fromEntries(
        failed(run).map(({ input, message }: { input: string; message: string }) => [
          input.slice(at('bad/').length),
          message
        ])
      )
      expect(messages).toEqual({
        'null.parquet': expect.stringContaining('column vector: row 1 expected numbers, got null'),
        'part.arrow': expect.stringContaining('column vector: row 2 expected numbers, got null at 1'),
        'ragged.parquet': expect.stringContaining('column vector: row 2 expected 6 numbers, got 5'),
        'two.parquet': expect.stringContaining(
          'columns expected one of lists of float32 or float16, got a, b; --column names it'
        ),
        'double.arrow': expect.stringContaining(
          'columns expected one of lists of float32 or float16, got vector: List<Float64>'
        ),
        'text.parquet': expect.stringContaining('format expected Parquet, got another'),
        'void.arrow': expect.stringContaining('format expected Arrow IPC, got an empty file'),
        'cut.parquet': expect.stringContaining('format expected Parquet, got what cannot be read'),
        'cut.arrow': expect.stringContaining('format expected Arrow IPC, got what cannot be read')
      })
      expect(readdirSync(at('bad-out'))).toEqual([])
      const named = async (column: string) =>
        failed(await corpus('normalize', at('bad/two.parquet'), '--out-dir', at('no'), '--column', column))
      expect((await named('d'))[0].message).toContain(
        'columns expected d (--column), got a: FixedSizeList[6]<Float32>, b'
      )
      expect((await named('c'))[0].message).toContain(
        'column c: type expected lists of float32 or float16, got Float32'
      )
      expect(await named('b')).toEqual([])
    })

    it('says what to install, and refuses options before anything is written', async () => {
      const args = ['corpus', 'run', 'layer-norm', '--out-dir', at('never'), '--in']
      const missing = node([commandOf('without'), ...args, at('tables/*')])
      expect(missing).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('npm install parquet-wasm apache-arrow')
      })
      expect(node([commandOf('without'), ...args, at('npy/*.npy')])).toMatchObject({ code: 0 })
      rmSync(at('never'), { recursive: true })
      const refused: [more: string[], message: string][] = [
        [[at('npy/*'), '--format', 'csv'], '--format expected npy, parquet, arrow, got "csv"'],
        [[at('npy/*'), '--column', 'e'], '--column needs shards or results in .parquet or .arrow'],
        [[at('npy/*'), at('tables/*'), '--format', 'arrow'], 'base names of their own']
      ]
      for (const [more, message] of refused) {
        await expect(corpus('layer-norm', '--out-dir', at('never'), ...more)).rejects.toThrow(message)
      }
      expect(existsSync(at('never'))).toBe(false)
    })

    describe.skipIf(!hasRedis)('on Redis', () => {
      const started: ChildProcess[] = []
      afterEach(() => {
        for (const child of started) child.kill('SIGKILL')
      })
      it('gives the bytes of one process', async () => {
        const server = createServer().listen(0, '127.0.0.1')
        await new Promise(resolve => server.once('listening', resolve))
        const { port } = server.address() as { port: number }
        await new Promise(resolve => server.close(resolve))
        const redis = spawn('redis-server', [
          '--port',
          `${port}`,
          '--bind',
          '127.0.0.1',
          '--save',
          '',
          '--dir',
          at('.')
        ])
        started.push(redis)
        await new Promise<void>(resolve =>
          redis.stdout.on('data', said => String(said).includes('Ready to accept') && resolve())
        )
        const env = { REDIS_URL: `redis://127.0.0.1:${port}` }
        const args = ['batch-norm', '--training', '--in', at('tables/*'), '--out-dir']
        const cli = commandOf('with')
        started.push(spawn(process.execPath, [cli, 'corpus', 'work'], { env: { ...process.env, ...env } }))
        const run = node([commandOf('with'), 'corpus', 'run', ...args, at('queue'), '--engine', 'bullmq'], env)
        expect(run).toMatchObject({ code: 0 })
        expect(await corpus(...args, at('one'))).toMatchObject({ code: 0 })
        for (const name of [...names, 'statistics.json']) {
          expect(readFileSync(at(`queue/${name}`))).toEqual(readFileSync(at(`one/${name}`)))
        }
      }, 30_000)
    })
  },
  60_000
)
