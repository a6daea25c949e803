import type { BlobStore } from '../config/artifacts.ts';
import type { Logger } from '../config/log.ts';
import type { SecretsAdmin } from '../config/secrets.ts';
import type { ResourceStore } from '../crds/store.ts';
import type { LedgerClient } from '../ledger/client.ts';
import type { Delivery } from './delivery/delivery.ts';
import type { GitWriter } from './git/writer.ts';
import type { Platform } from './render/platform.ts';
import type { Clock } from './runtime/clock.ts';

/** What the operator asks of the ledger: no call of these creates credits. */
export type LedgerPort = Pick<
  LedgerClient,
  | 'putWallet'
  | 'getWallet'
  | 'closeWallet'
  | 'findFulfilments'
  | 'claimFulfilment'
  | 'listHolds'
  | 'voidHold'
  | 'events'
>;

export type GitPort = Pick<GitWriter, 'commit' | 'remove' | 'claim' | 'contains'>;

/** What the runner says about an Instance it was asked to try. */
export type ProbeReply =
  | { ok: true; contractDigest: string; secrets: { name: string; version: number }[] }
  /** `code` is the problem's stable code; `detail` its sentence. */
  | { ok: false; code: string; detail: string };

/** Loads the artifact and resolves every secret of an Instance on the runner; runs and charges nothing. */
export interface ProbePort {
  /** Never rejects for an Instance that does not work: that is a reply. */
  probe(organization: string, instance: string): Promise<ProbeReply>;
}

/** What the steps of every controller may reach. */
export interface Ports {
  store: ResourceStore;
  ledger: LedgerPort;
  secrets: SecretsAdmin;
  blobs: BlobStore;
  git: GitPort;
  delivery: Delivery;
  probe: ProbePort;
  /** Facts of the installation that manifests name. */
  platform: Platform;
  /** Base URL of the edge, for `status.url`. No trailing slash. */
  publicUrl: string;
  clock: Clock;
  log: Logger;
}
