import type { SecretsAdmin } from '../../config/secrets.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { LedgerClient } from '../../ledger/client.ts';
import { compare, type Finding, type Inventory, identity } from './compare.ts';

export interface AuditDoors {
  store: Pick<ResourceStore, 'list'>;
  ledger: Pick<LedgerClient, 'findFulfilments' | 'listWallets'>;
  secrets: Pick<SecretsAdmin, 'names'>;
  /** Paths of all files on the branch. */
  gitPaths: () => Promise<readonly string[]>;
  /** Whether Argo CD delivers here: then its Applications are compared as well. */
  argocd: boolean;
  now: () => number;
}

/** A list says this much of ours; Argo CD keeps our labels. */
const OURS = { 'app.kubernetes.io/managed-by': 'gsv-operator' };

/**
 * Compares what each system has and names what belongs to nothing or lacks. It reads and repairs nothing. The
 * systems are read one after the other while the world goes on, so a finding counts only when a second look
 * finds it again.
 *
 * @param pause before the second look, long enough for a visit to end
 * @throws what a door throws: half an inventory would name orphans that are none
 */
export async function audit(doors: AuditDoors, pause: () => Promise<void>): Promise<Finding[]> {
  const first = compare(await inventory(doors));
  if (first.length === 0) return [];
  await pause();
  const again = new Set(compare(await inventory(doors)).map(identity));
  return first.filter((finding) => again.has(identity(finding)));
}

async function inventory({ store, ledger, secrets, gitPaths, argocd, now }: AuditDoors): Promise<Inventory> {
  const outside = {
    fulfilments: await ledger.findFulfilments({}),
    ledgerWallets: await openWallets(ledger),
    gitPaths: await gitPaths(),
    secrets: await secrets.names(),
    ...(argocd
      ? { applications: (await store.list('Application', { labels: OURS })).map(({ metadata }) => metadata.name) }
      : {}),
  };
  // Owners last: what is made while we read has its owner in the list, and is no orphan.
  const [organizations, projects, wallets, instances] = await Promise.all([
    store.list('Organization'),
    store.list('Project'),
    store.list('Wallet'),
    store.list('Instance'),
  ]);
  return { ...outside, organizations, projects, wallets, instances, now: now() };
}

async function openWallets(ledger: AuditDoors['ledger']): Promise<Inventory['ledgerWallets']> {
  const wallets: { wallet: string; ownerUid?: string }[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await ledger.listWallets({ cursor });
    wallets.push(...page.items);
    if (page.next === null) return wallets;
    cursor = page.next;
  }
}
