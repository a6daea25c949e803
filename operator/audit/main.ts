/**
 * `npm run audit -- [--json]`: names every orphan, with the operator's settings and rights. Reads only.
 * Ends with 0 when all is well, 1 with findings, 2 when it could not look.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { openVault } from '../../config/secrets/open.ts';
import { loadSettings } from '../../config/settings.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { LedgerClient } from '../../ledger/client.ts';
import { accessOf } from '../git/access.ts';
import { audit } from './audit.ts';
import type { Finding } from './compare.ts';
import { branchPaths } from './git-paths.ts';

/** A visit that is under way ends in this time, mostly. */
const SECOND_LOOK_MS = 10_000;

const SETTINGS = [
  'ledgerUrl',
  'ledgerToken',
  'gitRemote',
  'gitBranch',
  'gitCredentialsFile',
  'gitSshKeyFile',
  'gitSshKnownHostsFile',
  'delivery',
  'vaultAddr',
  'vaultAuth',
  'vaultToken',
  'vaultRole',
  'vaultAuthMount',
  'vaultJwtFile',
  'vaultCaFile',
  'vaultMount',
  'vaultAudience',
] as const;

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { json: { type: 'boolean' } } });
  const read = loadSettings(SETTINGS, ['ledgerUrl', 'ledgerToken', 'gitRemote', 'vaultAddr']);
  const secrets = openVault(read, 'gsv-operator');
  const ledger = new LedgerClient({ url: read.ledgerUrl, token: () => read.ledgerToken.reveal() });
  const store = await KubernetesStore.open();
  try {
    const gitPaths = () => branchPaths(read.gitRemote, read.gitBranch, accessOf(read));
    const argocd = read.delivery === 'argocd';
    const doors = { store, ledger, secrets, gitPaths, argocd, now: Date.now };
    const findings = await audit(doors, () => delay(SECOND_LOOK_MS));
    process.stdout.write(values.json === true ? `${JSON.stringify({ findings })}\n` : text(findings));
    return findings.length === 0 ? 0 : 1;
  } finally {
    await Promise.all([store.close(), ledger.close(), secrets.close()]);
  }
}

function text(findings: readonly Finding[]): string {
  const lines = findings.map(({ kind, fault, name, next }) => `${fault} ${kind} ${name}\n  ${next}\n`);
  return `${lines.join('')}${findings.length === 0 ? 'nothing is out of place' : `${findings.length} findings`}\n`;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`the audit could not look: ${(error as Error).message}\n`);
  process.exitCode = 2;
}
