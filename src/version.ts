/** The version of this package: a native binary of another one is not used, it may compute other bits. */
export const VERSION = '0.1.0'
