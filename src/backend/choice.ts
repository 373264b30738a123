// Which kernels run: orders the backends that native.ts found and chooses one of them. Chosen once, at import.
import { lengthOf } from '../kernels/arrays.js'
import { type Kernel, kernels, type Op, ops, type signatures } from '../kernels/index.js'
import { flattened, flattenedPlain, type PlainKernel } from './flatten.js'
import { native } from './native.js'
import { setFirstThreadCount } from './thread_count.js'
import { BACKEND_NAMES, type Backend, type BackendName, type NativeBackend } from './types.js'

/** A backend of the addon, called with operands by name. */
function backendOf({ name, float32 }: NativeBackend): Backend {
  const all = (functions: { readonly [op in Op]?: Parameters<typeof flattened>[1] }) =>
    Object.fromEntries(
      ops.flatMap(op => {
        const native = functions[op]
        return native ? [[op, flattened(op, native)]] : []
      })
    )
  const tables = { float32: all(float32.run), start: all(float32.start), prepare: all(float32.prepare) }
  return { name, ...tables } as unknown as Backend
}

/** What this machine can run, best first; the TypeScript kernels are the last entry. */
export const tables: readonly Backend[] = [
  ...(native.addon?.backends ?? []).map(backendOf),
  { name: 'js', float32: kernels }
]

/** Names of the backends that this machine can run, best first; 'js' is always the last. */
export const backends: readonly BackendName[] = Object.freeze(tables.map(table => table.name))

/** Why a backend is not among `backends`. */
export function absence(name: BackendName): string {
  const { addon, failure, arch } = native
  if (!addon) return failure ?? ''
  if (addon.unsupported.includes(name)) return 'this CPU or operating system does not support it'
  return `not made for ${arch}`
}

function choose(): Backend {
  const { forced } = native
  if (forced === undefined) return tables[0]
  const table = tables.find(({ name }) => name === forced)
  if (table) return table
  const known = BACKEND_NAMES.find(name => name === forced)
  const why = known ? ` (${absence(known)})` : native.failure === undefined ? '' : ` (${native.failure})`
  throw new RangeError(
    `evenkeel: EVENKEEL_BACKEND expected one of ${backends.join(', ')}, got ${JSON.stringify(forced)}${why}`
  )
}

/** The backend that runs. */
export const chosen: Backend = choose()
setFirstThreadCount(native)

/** Name of the backend that runs, chosen at import: the best of {@link backends}, or what the environment variable EVENKEEL_BACKEND names. */
export const backend: BackendName = chosen.name

/** The kernel of an op over rows for plain calls, on the backend that runs. */
export function plainKernelOf(op: RowOp, constants: { readonly [operand: string]: number }): PlainKernel {
  const native = nativeOf(chosen)?.float32.run[op]
  if (native) return flattenedPlain(op, native, constants)
  const kernel = kernelOf(op) as (call: object) => void
  return (y, x, size, weight, bias, eps) => {
    const shape = { outer: lengthOf(x) / size, size, inner: 1 }
    kernel({ counted: size, ...constants, y, x, weight, bias, shape, eps })
  }
}

/** Operations over rows. */
export type RowOp = { [op in Op]: (typeof signatures)[op] extends { shape: 'groups' } ? op : never }[Op]

const nativeOf = ({ name }: Backend): NativeBackend | undefined =>
  native.addon?.backends.find(backend => backend.name === name)

/** The kernel of an op on the backend that runs. */
export function kernelOf<Name extends Op>(op: Name): Kernel<Name> {
  return chosen.float32[op]
}
