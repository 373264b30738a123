// The page: sections of functions and classes, then types. Throws where something has no docstring.
import { ReflectionKind } from 'typedoc'
import { sections, shared } from './sections.mjs'
import { anchorOf, exportOf, table } from './text.mjs'
import { membersOf, problems, Writer } from './writer.mjs'

/** Types whose members stand in the tables of the calls that take them. */
const isOptions = ({ name }) => /(Options?|Weights|Constants|RunningStatistics)$/.test(name)

/** docs/api.md, below an introduction. */
export function page(project, intro) {
  const exported = project.children.flatMap(({ children }) => children) // of each entry point
  const byName = new Map(exported.map(child => [child.name, child]))
  const listed = sections.flatMap(({ names }) => names.flat())
  const types = exported.filter(child => !listed.includes(child.name))
  for (const { name, kind } of types) {
    if (kind !== ReflectionKind.Interface && kind !== ReflectionKind.TypeAlias) {
      stop(`sections.mjs: ${name} is in no section`)
    }
  }
  const shown = types.filter(type => !isOptions(type) || shared.includes(type.name))
  const options = types.filter(type => !shown.includes(type)).sort(byTitle)
  const has = new Set([...listed, ...shown.map(({ name }) => name)])

  /** A link to what the page has; of options, which have no place of their own, the name. */
  const linkTo = (target, text) => {
    return has.has(exportOf(target).name) ? `[\`${text}\`](#${anchorOf(target)})` : `\`${text}\``
  }
  const owners = shared.flatMap(name => byName.get(name).children.map(child => [child.name, name]))
  const write = new Writer(linkTo, new Map(owners))
  const parts = sections.map(({ title, text, names }) => {
    const items = names.flat().map(name => byName.get(name) ?? stop(`sections.mjs: ${name} is not exported`))
    return [`## ${title}`, text, ...items.map(item => write.item(item))].join('\n\n')
  })
  const titles = [...sections, { title: 'Types', names: [shown.map(({ name }) => name).sort()] }]
  const contents = titles.map(({ title, names }) => {
    const links = names.map(subject => subject.map(name => `[\`${name}\`](#${anchorOf(byName.get(name))})`).join(', '))
    return `* [${title}](#${title.toLowerCase().replaceAll(' ', '-')}): ${links.join('; ')}`
  })
  const listOfOptions = table(
    ['type', 'what it is', 'options'],
    options.map(type => [
      `\`${type.name}\``,
      write.summary(type),
      membersOf(type)
        .map(({ name }) => `\`${name}\``)
        .join(', ')
    ])
  )
  const made = `${[
    intro.trim(),
    `## Contents\n\n${contents.join('\n')}\n* [Types of options](#types-of-options)`,
    ...parts,
    '## Types',
    ...[...shown].sort(byTitle).map(type => write.type(type)),
    '## Types of options',
    'What the tables above list together, by the names that TypeScript exports.',
    listOfOptions
  ].join('\n\n')}\n`
  if (problems.length > 0) throw new Error(problems.join('\n'))
  return made
}

function stop(message) {
  throw new Error(message)
}

const byTitle = (a, b) => (a.name < b.name ? -1 : 1)
