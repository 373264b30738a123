require('./report.cjs').report(require('evenkeel'), require('evenkeel/js'))
