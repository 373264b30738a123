import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    // The tests run the built package as Node.js loads it, not a transformed copy of the sources.
    server: { deps: { external: [/\/dist\//] } }
  }
})
