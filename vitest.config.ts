import { defineConfig } from 'vitest/config'

/** Where a report for programs goes; .ci/run reads it. */
const report = process.env.EVENKEEL_TEST_REPORT

/** Tests of the time that threads and calls take: nothing else runs beside them. */
const alone = ['test/runtime/threads.test.ts', 'test/runtime/cost.test.ts']

const shared = {
  testTimeout: 120_000,
  // The tests run the built package as Node.js loads it, not a transformed copy of the sources.
  server: { deps: { external: [/\/dist\//] } }
}

export default defineConfig({
  test: {
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
    projects: [
      {
        test: {
          ...shared,
          name: 'together',
          include: ['test/**/*.test.ts'],
          exclude: alone,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 }
        }
      },
      { test: { ...shared, name: 'alone', include: alone, fileParallelism: false, sequence: { groupOrder: 1 } } }
    ]
  }
})
