/**
 * The contract: an OfferingVersion's terms and the Capabilities it names, compiled into one canonical
 * JSON document and its digest. Pure: same meaning, same digest.
 */
export { canonicalDigest } from './contract/canonical.ts';
export { capabilityDigest, compileContract } from './contract/compile.ts';
export { validateConfig } from './contract/config.ts';
export * from './contract/document.ts';
export { effectiveLimits, PLATFORM_MAXIMA } from './contract/limits.ts';
export { contractDigest, parseContract } from './contract/parse.ts';
export { amountOf, MAX_AMOUNT, priceLines, reserveMicrocredits } from './contract/prices.ts';
