import * as evenkeel from 'evenkeel'
import * as plain from 'evenkeel/js'
import { report } from './report.cjs'

report(evenkeel, plain)
