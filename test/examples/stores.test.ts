// examples/stores: what our options give is what each vector database makes, takes and keeps, to the bit; and it finds by it
// what a plain loop finds.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { random } from '../../dist/esm/cases/data.js'
import { dequantizeEmbeddings, quantizeEmbeddings } from '../../dist/esm/index.js'
import { type Outcome, root } from '../support/process.ts'

const stores = join(root, 'examples/stores')
const installed = existsSync(join(stores, 'node_modules'))
if (!installed) console.log('examples/stores is not installed (npm ci in it): its tests are skipped')

const require = createRequire(join(stores, 'package.json'))
const docs = readFileSync(join(root, 'docs/embeddings.md'), 'utf8')

type View = Pick<Uint8Array, 'buffer' | 'byteOffset' | 'byteLength'>
const bytes = (array: View) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)

/** A file that lives as long as the tests. */
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-stores-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Node.js with these arguments, in the package's root, while this process goes on. */
function start(args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, NODE_NO_WARNINGS: '1' } })
  const outcome = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (part: string) => {
      outcome[name] += part
    })
  }
  return new Promise(resolve => child.on('close', code => resolve({ ...outcome, code })))
}

/** What a script prints, which docs/embeddings.md shows. */
async function prints(script: string, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await start([`examples/stores/${script}`, ...args])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const [, shown] = docs.split(`\`\`\`sh\nnode examples/stores/${script}\n\`\`\`\n\n\`\`\`text\n`)
  expect(shown.slice(0, shown.indexOf('```'))).toBe(stdout)
}

/** float32 numbers around each of these, which code boundaries are. */
function around(boundaries: readonly number[]): number[] {
  const float = new Float32Array(1)
  const word = new Uint32Array(float.buffer)
  return boundaries.flatMap(boundary =>
    [-1, 0, 1].map(step => {
      float[0] = boundary
      if (float[0] !== 0) word[0] += step
      return float[0]
    })
  )
}

/** Rows of 16: everything that the numbers between -1 and 1 can be, and more. */
function rows(values: readonly number[]): Float32Array {
  const next = random(13)
  const x = Float32Array.from({ length: 16 * Math.ceil((values.length + 16_000) / 16) }, () => 2 * next() - 1)
  x.set(values)
  x.set([0, -0, 1, -1, 2 ** -149, -(2 ** -149), 2 ** -126, 1e-30, 1.5, -1.5, 3e38, -3e38], values.length)
  return x
}

const byRow = <T extends Float32Array | Uint8Array>(x: T, width: number) =>
  Array.from({ length: x.length / width }, (_, i) => x.subarray(i * width, (i + 1) * width) as T)

describe.skipIf(!installed)('behaviour: pgvector', () => {
  it('keeps and finds what docs/embeddings.md shows', () => prints('pgvector.mjs', join(folder, 'postgres')))

  describe('in SQL', () => {
    let database: {
      query(sql: string, values?: unknown[]): Promise<{ rows: { [column: string]: unknown }[] }>
      close(): Promise<void>
    }
    beforeAll(async () => {
      const { PGlite } = require('@electric-sql/pglite')
      const { vector } = require('@electric-sql/pglite-pgvector')
      database = await PGlite.create({ dataDir: join(folder, 'postgres'), extensions: { vector } })
    })
    afterAll(() => database.close())

    const first = async (sql: string, values?: unknown[]) => Object.values((await database.query(sql, values)).rows[0])
    const text = (x: ArrayLike<number>) => `[${Array.from(x, value => (Object.is(value, -0) ? '-0' : value)).join()}]`

    it('makes the bits of float16 from float32, at every boundary between two', async () => {
      const bits = Uint16Array.from({ length: 2 * 0x7c00 }, (_, i) => (i % 0x7c00) | (i < 0x7c00 ? 0 : 0x8000))
      const halves = dequantizeEmbeddings(bits, 1, { precision: 'float16' }) as Float32Array
      const between = Array.from(halves.subarray(0, 0x7bff), (value, i) => (value + halves[i + 1]) / 2)
      const x = Float32Array.from([...around([...between, ...between.map(value => -value)]), ...halves])
      for (let begin = 0; begin < x.length; begin += 16_000) {
        const part = x.subarray(begin, begin + 16_000)
        const ours = bytes(quantizeEmbeddings(part, part.length, { precision: 'float16' })).swap16()
        for (const sql of ['halfvec_send($1::halfvec)', 'halfvec_send($1::vector::halfvec)']) {
          const [theirs] = await first(`select ${sql}`, [text(part)])
          expect(
            Buffer.from(theirs as Uint8Array)
              .subarray(4)
              .equals(ours)
          ).toBe(true)
        }
      }
    })

    it('makes the bits of ubinary', async () => {
      const x = rows([]).subarray(0, 16_000)
      const [bits] = await first('select bit_send(binary_quantize($1::vector))', [text(x)])
      const ours = quantizeEmbeddings(x, 16_000, { precision: 'ubinary' })
      expect(
        Buffer.from(bits as Uint8Array)
          .subarray(4)
          .equals(bytes(ours))
      ).toBe(true)
      expect(await first("select binary_quantize('[1,1,1,1,1]'::vector)::text")).toEqual(['11111']) // no tail
    })

    it('has the indexes that docs/embeddings.md names', async () => {
      await database.query('create index on sentences using hnsw (b halfvec_ip_ops)')
      await database.query('create index on sentences using hnsw (c bit_hamming_ops)')
    })

    it('treats zeros, overflow, NaN and Inf as the table says', async () => {
      expect(await first("select '[0,0]'::vector <=> '[1,0]'")).toEqual([Number.NaN])
      expect(await first("select ('[0,0]'::vector <#> '[1,0]') = 0")).toEqual([true])
      await expect(database.query("select '[65520,0]'::halfvec")).rejects.toThrow('out of range for type halfvec')
      await expect(database.query("select '[1,inf]'::vector")).rejects.toThrow('infinite value not allowed')
      await expect(database.query("select '[1,NaN]'::vector")).rejects.toThrow('NaN not allowed')
      expect(quantizeEmbeddings(Float32Array.of(65519.99, 65520), 2, { precision: 'float16' })[1]).toBe(
        'Float16Array' in globalThis ? Number.POSITIVE_INFINITY : 0x7c00
      )
    })
  })

  it('finds the nearest row by the sample in README.md', async () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const [, sample] = /^## From last_hidden_state to the vector database\n.*?^```ts\n(.*?)^```$/ms.exec(readme)!
    const { code, stdout, stderr } = await start([
      '--input-type=module',
      '-e',
      `import { createRequire } from 'node:module'
       import { Tensor } from 'onnxruntime-common'
       import { hidden, mask, positions, sentences as texts } from './examples/stores/sentences.mjs'
       const require = createRequire(${JSON.stringify(join(stores, 'package.json'))})
       const { PGlite } = require('@electric-sql/pglite')
       const { vector } = require('@electric-sql/pglite-pgvector')
       const { PGLiteSocketServer } = require('@electric-sql/pglite-socket')
       const database = await PGlite.create({ dataDir: ${JSON.stringify(join(folder, 'postgres'))}, extensions: { vector } })
       const server = new PGLiteSocketServer({ db: database, host: '127.0.0.1', port: 0 })
       await server.start()
       const [host, port] = server.getServerConn().split(':')
       const client = new (require('pg').Client)({ host, port: Number(port), user: 'postgres', database: 'postgres' })
       await client.connect()
       await client.query('create table documents (text text, embedding halfvec(384))')
       // The encoder's first 384 channels, as a session gives them.
       const data = hidden.data.filter((_, i) => i % 512 < 384)
       const inputs = { attention_mask: new Tensor('int64', mask.data, mask.dims) }
       const session = { run: async () => ({ last_hidden_state: new Tensor('float32', data, [24, positions, 384]) }) }
       await sample()
       await client.end(); await server.stop(); await database.close()
       async function sample() {
         ${sample.replace("import { EmbeddingPooler } from 'evenkeel'", "const { EmbeddingPooler } = await import('evenkeel')").replace('(i: number)', 'i')}
         console.log(JSON.stringify(nearest.rows.map(({ text }) => texts.indexOf(text))))
       }`
    ])
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const found = JSON.parse(stdout)
    expect(found).toHaveLength(5)
    expect(found.slice(0, 2)).toEqual([0, 1])
  })
})

describe.skipIf(!installed)('behaviour: sqlite-vec', () => {
  it('keeps and finds what docs/embeddings.md shows', () => prints('sqlite_vec.mjs'))

  const open = () => {
    const { DatabaseSync } = require('@photostructure/sqlite')
    const database = new DatabaseSync(':memory:', { allowExtension: true })
    database.enableLoadExtension(true)
    database.loadExtension(require('sqlite-vec').getLoadablePath())
    return database
  }
  const first = (sql: string, ...values: unknown[]) =>
    Object.values(
      open()
        .prepare(sql)
        .get(...values) as object
    )

  it("makes the codes of scale 'sqlite-vec', at every boundary between two, and the bits of bitOrder 'lsb'", () => {
    const steps = Array.from({ length: 256 }, (_, q) => q * Math.fround(2 / 255) - 1)
    const x = rows([...around(steps), Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    const database = open()
    const quantize = database.prepare("select vec_quantize_int8(?, 'unit') as int8, vec_quantize_binary(?) as bits")
    const theirs = byRow(x, 16).map(
      row => quantize.get(bytes(row), bytes(row)) as { int8: Uint8Array; bits: Uint8Array }
    )
    const int8 = quantizeEmbeddings(x, 16, { precision: 'int8', scale: 'sqlite-vec' })
    const bits = quantizeEmbeddings(x, 16, { precision: 'ubinary', bitOrder: 'lsb' })
    expect(Buffer.concat(theirs.map(row => row.int8)).equals(bytes(int8))).toBe(true)
    expect(Buffer.concat(theirs.map(row => row.bits)).equals(bytes(bits))).toBe(true)
    expect(new Set(int8).size).toBe(256)
  })

  it('treats zeros, and dimensions that are no multiple of 8, as the tables say', () => {
    const zero = bytes(new Float32Array(8))
    const one = bytes(Float32Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    const near = bytes(Float32Array.of(0.6, 0.8, 0, 0, 0, 0, 0, 0))
    expect(first('select vec_distance_cosine(?, ?)', zero, one)).toEqual([null])
    expect(() => first('select vec_quantize_binary(?)', bytes(new Float32Array(5)))).toThrow('divisible by 8')
    const nan = bytes(Float32Array.of(Number.NaN, 0, 0, 0, 0, 0, 0, 0))
    expect(first('select vec_distance_cosine(?, ?)', nan, one)).toEqual([null])
    // A zero vector takes the place of a neighbour.
    const database = open()
    database.exec('create virtual table t using vec0(id integer primary key, x float[8] distance_metric=cosine)')
    for (const [id, x] of [one, zero, near].entries())
      database.prepare('insert into t values (?, ?)').run(BigInt(id), x)
    const found = database.prepare('select id, distance from t where x match ? and k = 2').all(one)
    expect(found.map((row: { id: number; distance: number | null }) => [row.id, row.distance])).toEqual([
      [0, 0],
      [1, null]
    ])
  })
})

describe.skipIf(!installed)('behaviour: usearch', () => {
  it('keeps and finds what docs/embeddings.md shows', () => prints('usearch.mjs'))

  /** The rows as an index keeps them, and how far each is from the first. */
  function index(metric: string, quantization: string, x: Float32Array | Int8Array, dimensions: number) {
    const { Index } = require('usearch')
    const index = new Index({ dimensions, metric, quantization })
    index.add(
      BigUint64Array.from({ length: x.length / dimensions }, (_, i) => BigInt(i)),
      x,
      1
    )
    index.save(join(folder, 'usearch'))
    const file = readFileSync(join(folder, 'usearch'))
    const { keys, distances } = index.search(x.subarray(0, dimensions), x.length / dimensions, 1)
    return {
      rows: file.subarray(8, 8 + file.readUInt32LE(0) * file.readUInt32LE(4)),
      from: new Map(Array.from(keys as BigUint64Array, (key, i) => [Number(key), distances[i] as number]))
    }
  }

  it('makes the bits of float16 and of ubinary', () => {
    const x = rows(around([65504, 65520, 2 ** -14, 2 ** -24, 2 ** -25, 1 + 2 ** -11, 1 + 3 * 2 ** -11]))
    const half = quantizeEmbeddings(x, 16, { precision: 'float16' })
    const bits = quantizeEmbeddings(x, 16, { precision: 'ubinary' })
    expect(index('ip', 'f16', x, 16).rows.equals(bytes(half))).toBe(true)
    expect(index('hamming', 'b1', x, 16).rows.equals(bytes(bits))).toBe(true)
  })

  it('makes i8 of its own rule: the number over the norm, times 127, cut off', () => {
    const x = rows([]).subarray(16)
    const expected = byRow(x, 16).flatMap(row => {
      const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0))
      return Array.from(row, value => Math.trunc((value * 127) / norm))
    })
    expect(index('cos', 'i8', x, 16).rows.equals(bytes(Int8Array.from(expected)))).toBe(true)
    // Codes are turned into float32 and quantised once more.
    const codes = Int8Array.from({ length: 16 }, (_, c) => c + 1)
    expect(index('cos', 'i8', codes, 16).rows.equals(bytes(codes))).toBe(false)
  })

  it('treats zeros and Inf as the table says', () => {
    const { POSITIVE_INFINITY: inf, NaN: nan } = Number
    const from = index('cos', 'f32', Float32Array.of(1, 0, 0, 0, inf, 1, nan, 1, 0.6, 0.8), 2).from
    expect([0, 1, 2, 3].map(id => from.get(id))).toEqual([0, 1, 0, 0])
    expect(from.get(4)).toBeCloseTo(0.4, 6)
  })
})

describe.skipIf(!installed)('behaviour: LanceDB', () => {
  it('keeps and finds what docs/embeddings.md shows', () => prints('lancedb.mjs'))

  it("is in need of our bits of float16: Arrow's own conversion of numbers is wrong below odd powers of two", () => {
    const { Float16, vectorFromArray } = require('apache-arrow')
    const halves = quantizeEmbeddings(Float32Array.of(0.4999), 1, { precision: 'float16' })
    expect(dequantizeEmbeddings(halves, 1, { precision: 'float16' })[0]).toBe(0.5)
    expect(vectorFromArray([0.4999], new Float16()).toJSON()).toEqual([0.25])
  })

  it('gives no row with a zero vector by cosine, finds by no int8, and packs bits the other way round', async () => {
    const { connect, packBits } = require('@lancedb/lancedb')
    const { Field, FixedSizeList, Int8, Schema } = require('apache-arrow')
    const database = await connect(join(folder, 'lancedb'))
    const vectors = [
      [1, 0],
      [0, 0],
      [0, 1],
      [Number.POSITIVE_INFINITY, 1]
    ]
    const floats = await database.createTable(
      'floats',
      vectors.map(vector => ({ vector }))
    )
    expect(await floats.query().nearestTo([1, 0]).distanceType('cosine').toArray()).toHaveLength(2)
    expect(await floats.query().nearestTo([0, 0]).distanceType('cosine').toArray()).toHaveLength(0)
    const schema = new Schema([new Field('vector', new FixedSizeList(2, new Field('item', new Int8(), true)))])
    const codes = await database.createTable('codes', [{ vector: Int8Array.of(1, 2) }], { schema })
    await expect(codes.query().nearestTo(Int8Array.of(1, 2)).toArray()).rejects.toThrow('element type Int8')
    const x = Float32Array.of(1, -1, -1, 1, 1, -1, -1, -1)
    const ours = quantizeEmbeddings(x, 8, { precision: 'ubinary', bitOrder: 'lsb' })
    expect(packBits(Array.from(x, value => Number(value > 0)))).toEqual([...ours])
  })
})

describe.skipIf(!installed)('behaviour: what is sent to Qdrant', () => {
  it('holds every number exactly, and suffices to find them', async () => {
    // No server: its HTTP interface with a plain loop over the JSON that came in. What a real one does with it is not tried.
    type Point = { id: number; vector: { [name: string]: number[] } }
    type Vectors = { [name: string]: { size: number; distance: string; datatype?: string } }
    type Body = { vectors: Vectors; points: Point[]; query: number[]; using: string; limit: number }
    let points: Point[] = []
    let vectors: Vectors = {}
    const answers: { [request: string]: ((body: Body) => unknown) | undefined } = {
      'PUT /collections/sentences': body => {
        vectors = body.vectors
        return true
      },
      'PUT /collections/sentences/points?wait=true': body => {
        points = body.points
        return { operation_id: 0, status: 'completed' }
      },
      'POST /collections/sentences/points/query': ({ query, using, limit }) => {
        const euclid = vectors[using].distance === 'Euclid'
        const score = ({ vector }: Point) =>
          euclid
            ? Math.sqrt(vector[using].reduce((sum, value, c) => sum + (value - query[c]) ** 2, 0))
            : vector[using].reduce((sum, value, c) => sum + value * query[c], 0)
        const found = points.map(point => ({ id: point.id, version: 0, score: score(point) }))
        return { points: found.sort((a, b) => (euclid ? a.score - b.score : b.score - a.score)).slice(0, limit) }
      }
    }
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const answer = answers[`${request.method} ${request.url}`]
      response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' })
      const result = answer?.(JSON.parse(Buffer.concat(chunks).toString()))
      response.end(JSON.stringify({ result, status: answer ? 'ok' : `no ${request.method} ${request.url}`, time: 0 }))
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    try {
      await prints('qdrant.mjs', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    } finally {
      server.close()
    }

    expect(vectors.half).toEqual({ size: 512, distance: 'Dot', datatype: 'float16' })
    expect(points).toHaveLength(24)
    for (const { vector } of points) {
      expect(vector.full.every(value => Math.fround(value) === value)).toBe(true)
      expect(vector.codes.every(value => Number.isInteger(value) && value >= 0 && value <= 255)).toBe(true)
      const half = quantizeEmbeddings(Float32Array.from(vector.half), 512, { precision: 'float16' })
      expect(dequantizeEmbeddings(half, 512, { precision: 'float16' })).toEqual(Float32Array.from(vector.half))
      expect(half).toEqual(quantizeEmbeddings(Float32Array.from(vector.full), 512, { precision: 'float16' }))
    }
    expect(JSON.stringify(Float32Array.of(1))).toBe('{"0":1}') // why rows go through Array.from
  })
})
