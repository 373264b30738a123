// The golden hashes of every op, computed in a page by evenkeel/js. GOLDEN_CASES and JS_TABLES are aliases of the package's
// own files: its public interface has no kernels.
import { goldens } from 'GOLDEN_CASES'
import { tables } from 'JS_TABLES'
import * as evenkeel from 'evenkeel/js'
import { checkFloat16 } from './float16.cjs'

const hashes = goldens(tables.at(-1).float32)
// All exports are looked at: a bundler leaves an op out, and with it its kernel, that nobody imports.
const exported = Object.keys(evenkeel).sort()
checkFloat16(evenkeel)
  .catch(String)
  .then(float16 => {
    document.body.textContent = JSON.stringify({ backends: evenkeel.backends, exported, hashes, float16 })
  })
