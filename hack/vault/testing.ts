import { type RunningVault, startVault, type VaultOptions } from './launch.ts';

/**
 * A real Vault server for the tests of one file, awaited at the top of it; the file closes it. Without
 * one the file cannot be loaded, which counts as failed, and says why.
 */
export function testVault(options: Omit<VaultOptions, 'log'> = {}): Promise<RunningVault> {
  return startVault({ ...options, log: (line) => void process.stderr.write(`# ${line}\n`) });
}
