const { checkFloat16 } = require('./float16.cjs')
require('./report.cjs').report(require('evenkeel'), require('evenkeel/js'), checkFloat16)
