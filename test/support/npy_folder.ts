// A folder of .npy files for the tests of one file.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { npyHeader } from '../../dist/esm/cli/npy.js'

/** A new folder, removed after the tests, and what writes and reads files in it. */
export function npyFolder() {
  const folder = mkdtempSync(join(os.tmpdir(), 'evenkeel-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const at = (name: string) => join(folder, name)

  /** A file of this type, float32 if nothing else is said. */
  function saveTyped(name: string, dtype: string, data: NodeJS.TypedArray, dims: readonly number[]): string {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    writeFileSync(at(name), Buffer.concat([npyHeader(dims, dtype), bytes]))
    return at(name)
  }

  return {
    at,
    saveTyped,
    save: (name: string, data: Float32Array, dims: readonly number[]) => saveTyped(name, '<f4', data, dims),

    /** A file of these bytes after a header of this text and version. */
    saveAs(name: string, version: number, text: string, data: Uint8Array = new Uint8Array(16)): string {
      const length = Buffer.alloc(version === 1 ? 2 : 4)
      if (version === 1) length.writeUInt16LE(text.length)
      else length.writeUInt32LE(text.length)
      const magic = Buffer.from('\x93NUMPY', 'latin1')
      writeFileSync(at(name), Buffer.concat([magic, Buffer.from([version, 0]), length, Buffer.from(text), data]))
      return at(name)
    },

    /** The header's dictionary of a file, and the bytes of its data. */
    read(name: string): { header: string; bytes: Buffer } {
      const file = readFileSync(at(name))
      const start = 10 + file.readUInt16LE(8)
      return { header: file.toString('latin1', 10, start).trim(), bytes: file.subarray(start) }
    },

    load(name: string): Float32Array {
      const file = readFileSync(at(name))
      return new Float32Array(Uint8Array.from(file.subarray(10 + file.readUInt16LE(8))).buffer)
    }
  }
}
