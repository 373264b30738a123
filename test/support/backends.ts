import { tables } from '../../dist/esm/backend/choice.js'

/** Every backend of this machine, the TypeScript one last. */
export const backendsHere = tables.map(({ name, float32 }) => [name, float32] as const)
