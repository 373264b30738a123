import { defineConfig } from 'vitest/config'

/** Where a report for programs goes; .ci/run reads it. */
const report = process.env.EVENKEEL_TEST_REPORT

export default defineConfig({
  test: {
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    // The tests run the built package as Node.js loads it, not a transformed copy of the sources.
    server: { deps: { external: [/\/dist\//] } }
  }
})
