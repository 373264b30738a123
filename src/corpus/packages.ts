// Packages that are installed only where they are needed.

/** What `load` imports; where a package is missing, `advice` says what to install. */
export async function orAdvice<Loaded>(load: () => Promise<Loaded>, advice: string): Promise<Loaded> {
  try {
    return await load()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Error(advice)
  }
}
