import * as evenkeel from 'evenkeel'
import * as plain from 'evenkeel/js'
import { checkFloat16 } from './float16.cjs'
import { report } from './report.cjs'

report(evenkeel, plain, checkFloat16)
