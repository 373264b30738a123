// What the compiler says of calls. matrix/consumer/types.ts is compiled here by this package's own TypeScript, and by npm run
// matrix, from the tarball, by the oldest that is supported as well.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { node, root } from '../support/process.ts'

/** What the compiler prints of these files, as a user's who is strict about everything. */
function compile(...files: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'))
  try {
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: true,
      noEmit: true,
      target: 'es2022',
      lib: ['es2022', 'dom'],
      module: 'nodenext',
      types: [],
      paths: {
        evenkeel: [join(root, 'dist/esm/index.d.ts')],
        'evenkeel/js': [join(root, 'dist/esm/index.d.ts')],
        'onnxruntime-common': [join(root, 'node_modules/onnxruntime-common/dist/esm/index.d.ts')]
      }
    }
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    files.forEach((text, i) => {
      writeFileSync(join(folder, `file${i}.ts`), text)
    })
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    return node([join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]).stdout
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Every file of types of the package, without its comments. */
const declarations = ['esm', 'cjs'].flatMap(format =>
  (readdirSync(join(root, 'dist', format), { recursive: true }) as string[])
    .filter(name => name.endsWith('.d.ts') && !/^(cli|corpus|cases)\b/.test(name))
    .map(name => ({
      name: join(format, name),
      text: readFileSync(join(root, 'dist', format, name), 'utf8').replace(/\/\*.*?\*\/|\/\/.*$/gms, '')
    }))
)

describe('behaviour: types', () => {
  it('gives what goes in, under exactOptionalPropertyTypes too, and a tensor of onnxruntime as its class', () => {
    const onnxruntime = `
      import { GroupNorm, LayerNorm, layerNorm, layerNormBackward, poolEmbeddings } from 'evenkeel'
      import { Tensor, type TypedTensor } from 'onnxruntime-common'

      declare const tensor: Tensor
      declare const float16: TypedTensor<'float16'>
      export const y: Tensor = layerNorm(tensor, 768)
      export const elements: Float32Array | Uint16Array = layerNorm(tensor, 768).data
      export const same: TypedTensor<'float16'> = new LayerNorm(768).forward(float16)
      export const bits: Uint16Array = same.data
      export const wide: Float32Array = new GroupNorm(2, 4).forward(float16, { out: new Tensor('float32', [4]) as TypedTensor<'float32'> }).data
      export const later: Promise<TypedTensor<'float16'>> = new GroupNorm(2, 4).forwardAsync(float16)
      export const dx: Tensor = layerNormBackward(tensor, tensor, 768, { weight: tensor }).dx
      export const embeddings: Float32Array = poolEmbeddings(tensor).data
      // @ts-expect-error: of any type that a tensor may have
      export const narrow: Float32Array = layerNorm(tensor, 768).data`
    expect(compile(readFileSync(join(root, 'matrix/consumer/types.ts'), 'utf8'), onnxruntime)).toBe('')
  })

  it('names nothing that only newer versions of TypeScript know', () => {
    expect(declarations.length).toBeGreaterThan(100)
    const found = declarations.filter(({ text }) => /(?<!')\bFloat16Array\b|Array<ArrayBuffer(Like)?>/.test(text))
    expect(found.map(({ name }) => name)).toEqual([])
  })
})
