// The text that the models learn: Moby-Dick in 32 characters.
import { readFileSync } from 'node:fs'

const ALPHABET = " abcdefghijklmnopqrstuvwxyz.,;'-"
/** How many characters there are. */
export const CHARACTERS = ALPHABET.length

export interface Text {
  /** The first 90 %, each character by its number. */
  readonly training: Uint8Array
  /** The rest, which no model learns from. */
  readonly heldOut: Uint8Array
}

let text: Text | undefined

export function readText(): Text {
  if (text) return text
  const book = readFileSync(new URL('../moby-dick.txt', import.meta.url), 'utf8').toLowerCase()
  const characters = book
    .slice(book.indexOf('call me ishmael'))
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, '')
    .replace(/[—–]/g, '-')
    .replace(/[!?:]/g, '.')
    .replace(/[^a-z.,;'-]+/g, ' ')
  const numbers = Uint8Array.from(characters, character => ALPHABET.indexOf(character))
  const end = Math.floor(0.9 * numbers.length)
  text = { training: numbers.subarray(0, end), heldOut: numbers.subarray(end) }
  return text
}
