// Markdown of comments and types.
import { ReflectionKind } from 'typedoc'

/** The export that a reflection is a part of. */
export function exportOf(reflection) {
  let top = reflection
  while (top.parent && top.parent.kind !== ReflectionKind.Module) top = top.parent
  return top
}

/** Where an export or a member of one stands on the page. */
export function anchorOf(reflection) {
  const top = exportOf(reflection)
  const name = top.name.toLowerCase()
  if (top.kind === ReflectionKind.Class) return `class-${name}`
  return top.kind === ReflectionKind.Interface || top.kind === ReflectionKind.TypeAlias ? `type-${name}` : name
}

/** Text of a comment. Lines that were only wrapped are joined. */
export function textOf(parts, linkTo) {
  const text = (parts ?? [])
    .map(part => {
      if (part.kind !== 'inline-tag') return part.text
      const { target } = part
      if (typeof target !== 'object' || !('name' in target)) throw new Error(`{@link ${part.text}} leads nowhere`)
      return linkTo(target, part.text)
    })
    .join('')
    .trim()
    .replace(/(?<!\[)NUMERICS\.md/g, '[NUMERICS.md](../NUMERICS.md)')
  // Code keeps its lines; a list has a line for each item.
  return text
    .split(/(^```[\s\S]*?^```)/m)
    .map(block => (block.startsWith('```') ? block : block.replace(/(?<!\n)\n(?!\n|- )/g, ' ').replace(/ {2,}/g, ' ')))
    .join('')
}

export const cell = text => text.replace(/(?<!\\)\|/g, '\\|').replaceAll('\n', ' ')

export function table(head, rows) {
  const lines = [head, head.map(() => '---'), ...rows.map(row => row.map(cell))]
  return lines.map(line => `| ${line.join(' | ')} |`).join('\n')
}

const code = text => `\`${text}\``

/** A type without what says nothing to a reader. */
export const plain = type => type.replaceAll('readonly ', '').replaceAll('<ArrayBufferLike>', '')

/** Whether a type says that there may be nothing. */
export const mayBeUndefined = type => members(type).some(member => member.toString() === 'undefined')

/** A type, with links to those that the page has; a parameter of a type is its constraint. undefined is left out. */
export function typeText(type, linkTo) {
  const all = members(type).filter(member => member.toString() !== 'undefined')
  const texts = all.map(member => {
    if (member.type === 'reference' && member.reflection && !member.typeArguments?.length) {
      return linkTo(member.reflection, member.name)
    }
    return code(plain(member.toString()))
  })
  return [...new Set(texts)].join(' or ')
}

function members(type) {
  if (type.type === 'union') {
    const booleans = type.types.filter(({ type, value }) => type === 'literal' && typeof value === 'boolean')
    if (booleans.length < 2) return type.types.flatMap(members)
  }
  if (type.type === 'reference' && type.refersToTypeParameter) {
    const parameter = type.reflection
    if (parameter?.type) return members(parameter.type)
  }
  return [type]
}
