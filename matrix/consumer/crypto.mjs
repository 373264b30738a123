// createHash of node:crypto, as far as the golden cases use it, for a page.
import { sha256 } from '@noble/hashes/sha2.js'

export function createHash() {
  const hash = sha256.create()
  const self = {
    update(bytes) {
      hash.update(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
      return self
    },
    digest: () => Array.from(hash.digest(), byte => byte.toString(16).padStart(2, '0')).join('')
  }
  return self
}
