// Text that a terminal shows.

/**
 * Text of files, of the command line and of the environment as a terminal may show it, on one line: characters that control
 * it are escaped.
 */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}
