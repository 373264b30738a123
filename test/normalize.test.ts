import type { NormalizeCase } from '../dist/esm/cases/normalize.js'
import { normalizeModel } from './support/model.ts'
import { testCases } from './support/suites.ts'

testCases<NormalizeCase>('normalize', normalizeModel)
