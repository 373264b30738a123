// Markdown of functions, classes and types, with their options as tables.
import { Comment, ReflectionKind } from 'typedoc'
import { first, last, shared } from './sections.mjs'
import { mayBeUndefined, plain, table, textOf, typeText } from './text.mjs'

const rank = ({ name }) => (first.includes(name) ? first.indexOf(name) - first.length : last.indexOf(name) + 1)
const inOrder = members => [...members].sort((a, b) => rank(a) - rank(b))

/** What is missing: all of it is told at the end. */
export const problems = []

function fail(message) {
  problems.push(message)
  return ''
}

/** The members of a type of options, those of what it extends among them. */
export function membersOf(type) {
  if (type.children) return type.children
  return type.kind === ReflectionKind.TypeAlias ? membersIn(type.type) : []
}

/** The members of a type as it stands in a signature. */
function membersIn(type) {
  if (type.type === 'intersection') return type.types.flatMap(membersIn)
  if (type.type === 'reflection') return type.declaration.children ?? []
  // What a mapped type maps has its members.
  if (type.type === 'reference' && type.name === 'InFloat32') return membersIn(type.typeArguments[0])
  if (type.type === 'reference' && type.reflection) return membersOf(type.reflection)
  return []
}

/** Writes functions, classes and types as Markdown. */
export class Writer {
  #linkTo
  /** Rows of the options of the functions of one subject, each with the name of its function. */
  #known = []
  #function
  #inFunction = false
  /** The types of options that stand once on the page, by the names of their members. */
  #owners

  constructor(linkTo, owners) {
    this.#linkTo = linkTo
    this.#owners = owners
  }

  #text(parts) {
    return textOf(parts, this.#linkTo)
  }

  #type(type) {
    return typeText(type, this.#linkTo)
  }

  /** What a reflection is; there must be a docstring. */
  summary(reflection) {
    const comment = reflection.comment ?? (reflection.getSignature ?? reflection.signatures?.[0])?.comment
    return comment ? this.#text(comment.summary) : fail(`${reflection.getFullName()} has no docstring`)
  }

  /** A function, a class or a constant. */
  item(reflection) {
    if (reflection.kind === ReflectionKind.Class) return this.#class(reflection)
    if (reflection.kind === ReflectionKind.Function) return this.#functionItem(reflection)
    return [`### ${reflection.name}`, fence(`${reflection.name}: ${reflection.type}`), this.summary(reflection)].join(
      '\n\n'
    )
  }

  /** A type that is no bag of options. */
  type(type) {
    const rows = membersOf(type)
    const parts = [`### type ${type.name}`]
    // A type that is taken from a constant: its docstring lists the words.
    const isListed = `${type.type}`.includes('typeof')
    if (rows.length === 0 && !isListed) parts.push(fence(`type ${type.name} = ${plain(`${type.type}`)}`))
    parts.push(this.summary(type))
    if (rows.some(row => / Default: /.test(this.summary(row)))) parts.push(this.#optionTable(inOrder(rows)))
    else if (rows.length > 0) parts.push(this.#members(rows, 'member'))
    return parts.join('\n\n')
  }

  #functionItem(reflection) {
    const { name, signatures } = reflection
    const documented = this.#documented(signatures, name)
    this.#function = name
    this.#inFunction = true
    if (!name.endsWith('Backward')) this.#known = []
    const parts = [
      `### ${name}`,
      fence(signatures.map(signatureText).join('\n')),
      this.#text(documented.comment.summary)
    ]
    parts.push(...this.#arguments(signatures), ...this.#tags(documented.comment, name))
    if (!documented.comment.getTag('@example')) fail(`${name} has no example`)
    return parts.filter(Boolean).join('\n\n')
  }

  #class(reflection) {
    const { name, children } = reflection
    this.#inFunction = false
    const of = kind => children.filter(child => child.kind === kind)
    const making = of(ReflectionKind.Constructor)[0].signatures[0]
    const parts = [`### class ${name}`, this.summary(reflection), ...this.#tags(reflection.comment, name)]
    if (!reflection.comment?.getTag('@example')) fail(`${name} has no example`)
    parts.push(`#### new ${name}`, fence(`new ${signatureText(making).replace(/: \w+(<.*>)?$/, '')}`))
    const { comment } = this.#documented([making], `the constructor of ${name}`)
    parts.push(this.#text(comment.summary), ...this.#arguments([making]), ...this.#tags(comment, name))
    const properties = [...of(ReflectionKind.Property), ...of(ReflectionKind.Accessor)]
    if (properties.length > 0) parts.push(`#### Properties of ${name}`, this.#members(properties, 'property'))
    parts.push(`#### Methods of ${name}`)
    for (const method of of(ReflectionKind.Method)) parts.push(this.#method(method, name))
    return parts.filter(Boolean).join('\n\n')
  }

  #documented(signatures, name) {
    const found = signatures.find(({ comment }) => comment)
    return found ?? { comment: new Comment([{ kind: 'text', text: fail(`${name} has no docstring`) }]) }
  }

  #method({ name, signatures, flags }, className) {
    const documented = this.#documented(signatures, `${className}.${name}`)
    const prefix = flags.isStatic ? `${className}.` : ''
    const parts = [
      fence(signatures.map(signature => prefix + signatureText(signature)).join('\n')),
      this.#text(documented.comment.summary),
      ...this.#arguments(signatures),
      ...this.#tags(documented.comment, `${className}.${name}`)
    ]
    return parts.filter(Boolean).join('\n\n')
  }

  /** A table of the arguments that have a text, then the options. */
  #arguments(signatures) {
    const parts = []
    const rows = []
    const names = [...new Set(signatures.flatMap(({ parameters }) => (parameters ?? []).map(({ name }) => name)))]
    for (const name of names) {
      const all = signatures.flatMap(({ parameters }) => parameters.filter(parameter => parameter.name === name))
      const text = this.#text(all.find(({ comment }) => comment)?.comment.summary)
      const types = [...new Set(all.flatMap(({ type }) => this.#type(type).split(' or ')))]
      if (text && name !== 'options') rows.push([`\`${name}\``, types.join(' or '), text])
      if (name === 'options') {
        if (text) parts.push(`\`options\`: ${text}.`)
        parts.push(...this.#options(all[0].type, text !== ''))
      }
    }
    return rows.length > 0 ? [table(['argument', 'type', 'what it is'], rows), ...parts] : parts
  }

  /** A table, and where the others stand. Those that a text describes need no docstrings of their own. */
  #options(type, described) {
    const members = inOrder(membersIn(type)).filter(({ comment }) => comment || !described)
    const own = new Map()
    const elsewhere = new Map()
    for (const member of members) {
      const owner = this.#owners.get(member.name) ?? this.#functionWith(member)
      if (owner) elsewhere.set(owner, (elsewhere.get(owner) ?? new Set()).add(member.name))
      else if (!own.has(member.name) || member.comment) own.set(member.name, member)
    }
    const places = [...elsewhere].map(([owner, names]) => {
      const list = [...names].map(name => `\`${name}\``).join(', ')
      const anchor = `${shared.includes(owner) ? 'type-' : ''}${owner.toLowerCase()}`
      return `${list}, as in [\`${owner}\`](#${anchor})`
    })
    const parts = own.size > 0 ? [this.#optionTable([...own.values()])] : []
    if (places.length > 0) parts.push(`${own.size > 0 ? 'Also' : 'Options:'} ${places.join('; ')}.`)
    if (this.#inFunction) for (const member of own.values()) this.#known.push([this.#function, this.#row(member)])
    return parts
  }

  /** The function of this subject whose table has the same option. */
  #functionWith(member) {
    if (this.#inFunction) return undefined
    const row = member.comment && this.#row(member).join()
    return this.#known.find(([, known]) => (row ? known.join() === row : known[0] === `\`${member.name}\``))?.[0]
  }

  #row(member) {
    const text = this.summary(member)
    const [sentence, value] = /\s*\bDefault: (.+?)\.(?=\s|$)/.exec(text) ?? ['', member.flags.isOptional ? 'none' : '']
    return [`\`${member.name}\``, this.#type(member.type), value, text.replace(sentence, '')]
  }

  #optionTable(members) {
    return table(
      ['option', 'type', 'default', 'what it is'],
      members.map(member => this.#row(member))
    )
  }

  #members(members, what) {
    const typeOf = ({ type, getSignature, signatures, flags }) => {
      if (signatures) return `\`${signatureText(signatures[0])}\``
      const given = type ?? getSignature.type
      return `${this.#type(given)}${mayBeUndefined(given) && !flags.isOptional ? ' or `undefined`' : ''}`
    }
    return table(
      [what, 'type', 'what it is'],
      members.map(member => [`\`${member.name}\``, typeOf(member), this.summary(member)])
    )
  }

  /** Returns, errors and examples. */
  #tags(comment, name) {
    const all = tag => (comment?.getTags(tag) ?? []).map(({ content }) => this.#text(content))
    const parts = []
    for (const text of all('@returns')) parts.push(`**Returns** ${text}.`)
    for (const text of all('@throws')) parts.push(`**Throws** ${text}.`)
    for (const text of all('@example')) {
      if (!text.startsWith('```ts\n')) fail(`the example of ${name} is not in a block of ts`)
      parts.push(text)
    }
    return parts
  }
}

const fence = text => `\`\`\`typescript\n${text}\n\`\`\``

/** A signature in a line. */
function signatureText({ name, typeParameters, parameters = [], type }) {
  const generic = typeParameters
    ? `<${typeParameters.map(({ name, type, default: value }) => `${name}${type ? ` extends ${type}` : ''}${value ? ` = ${value}` : ''}`).join(', ')}>`
    : ''
  const list = parameters.map(({ name, type, flags, defaultValue }) => {
    const optional = flags.isOptional || defaultValue !== undefined ? '?' : ''
    return `${flags.isRest ? '...' : ''}${name}${optional}: ${type}`
  })
  return plain(`${name}${generic}(${list.join(', ')}): ${type}`)
}
