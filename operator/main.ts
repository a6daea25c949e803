import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { blobStoreOf } from '../config/artifacts.ts';
import type { Logger } from '../config/log.ts';
import { type Frame, runProcess, type Service } from '../config/process.ts';
import { openVault } from '../config/secrets/open.ts';
import { loadSettings, SettingsError, settingsOf } from '../config/settings.ts';
import { KubernetesStore } from '../crds/store/kubernetes.ts';
import { LedgerClient } from '../ledger/client.ts';
import type { AuditDoors } from './audit/audit.ts';
import { branchPaths } from './audit/git-paths.ts';
import { AuditWorker } from './audit/worker.ts';
import { ArgoDelivery } from './delivery/argocd/delivery.ts';
import type { Delivery } from './delivery/delivery.ts';
import { LocalDelivery } from './delivery/local.ts';
import { fencedLedger, fencedStore } from './fencing.ts';
import { accessOf } from './git/access.ts';
import { remoteAddress } from './git/remote.ts';
import { GitWriter } from './git/writer.ts';
import { startOperator } from './operator.ts';
import { OrderWorker } from './orders/worker.ts';
import { platformOf } from './platform.ts';
import { systemClock } from './runtime/clock.ts';
import { Leader } from './runtime/leader.ts';
import { runnerProbe } from './steps/runner-probe.ts';

/** A visit that waits for a slow remote ends within Git's own limit for one command. Milliseconds. */
const DRAIN_MS = 130_000;

type OperatorSettings = ReturnType<typeof settings>;

/** @throws SettingsError */
function settings() {
  const read = loadSettings(settingsOf('operator'), [
    'ledgerUrl',
    'ledgerToken',
    'publicUrl',
    'runnerUrl',
    'runnerProbeKey',
    'gitRemote',
    'vaultAddr',
    'artifactsUrl',
  ]);
  if (read.resources === 'embedded')
    throw new SettingsError([
      'GSV_RESOURCES=embedded is the quickstart’s own: its store lives in one process; run npm run quickstart, or set GSV_RESOURCES=kubernetes',
    ]);
  return read;
}

/** The operator as a process of its own. */
async function start(read: OperatorSettings, { log, registry }: Frame): Promise<Service> {
  const secrets = openVault(read, 'gsv-operator');
  const blobs = blobStoreOf(read);
  const openDelivery = deliveryOf(read);
  const candidacy: { leader?: Leader } = {};
  const store = await KubernetesStore.open({ log, beforeWrite: () => candidacy.leader?.assert() });
  const leader = candidate(store, read.leaseNamespace, log);
  candidacy.leader = leader;
  const ledger = new LedgerClient({
    url: read.ledgerUrl,
    token: () => read.ledgerToken.reveal(),
    epoch: () => leader.fencing,
  });
  const git = await GitWriter.open({
    directory: join(resolve(read.dataDir), 'git'),
    remote: read.gitRemote,
    branch: read.gitBranch,
    clock: () => new Date(),
    // A remote that is away is named in conditions; the process is no better off for dying of it.
    patient: true,
    ...accessOf(read),
  });
  const delivery = openDelivery(store, git);
  const operator = startOperator({
    store,
    ledger,
    secrets,
    blobs,
    git,
    delivery,
    registry,
    log,
    probe: runnerProbe({ url: read.runnerUrl, key: () => read.runnerProbeKey.reveal() }),
    settings: { publicUrl: read.publicUrl, platform: platformOf(read) },
    leader,
    eventsFrom: leader.identity,
    workers: [
      new OrderWorker({ store: fencedStore(store, leader), ledger: fencedLedger(ledger, leader), log }),
      ...(read.auditMinutes === 0 ? [] : [auditor(read, { store, ledger, secrets }, { log, registry }, leader)]),
    ],
  });
  log.info({ delivery: read.delivery, branch: read.gitBranch }, 'operator runs');
  return {
    ready: () => operator.reasons(),
    about: () => ({ role: leader.state }),
    ended: operator.ended,
    close: async () => {
      await operator.close();
      await Promise.all([git.close(), delivery.close()]);
      await Promise.all([store.close(), ledger.close(), secrets.close()]);
    },
  };
}

/** One of several operators leads; a restart is another candidate. */
function candidate(store: KubernetesStore, namespace: string, log: Logger): Leader {
  return new Leader({
    store,
    namespace,
    name: 'gsv-operator',
    identity: `${hostname()}_${randomUUID()}`,
    clock: systemClock,
    monotonic: () => performance.now(),
    random: Math.random,
    log,
  });
}

/**
 * Refuses bad settings before anything is opened; Argo CD is read through the store that is opened later.
 *
 * @throws SettingsError
 */
function deliveryOf({ delivery, gitRemote, gitBranch, argocdNamespace }: OperatorSettings) {
  if (delivery === 'argocd')
    return (store: KubernetesStore, history: GitWriter): Delivery & { close(): Promise<void> } =>
      new ArgoDelivery({ store, history, namespace: argocdNamespace, now: () => Date.now() });
  const { localPath } = remoteAddress(gitRemote);
  if (localPath === undefined)
    throw new SettingsError(['GSV_DELIVERY=local reads GSV_GIT_REMOTE from this machine’s disk: name a path']);
  return () => new LocalDelivery({ repository: localPath, branch: gitBranch });
}

/** Reads everything now and then, and writes nothing. */
function auditor(
  read: OperatorSettings,
  doors: Pick<AuditDoors, 'store' | 'ledger' | 'secrets'>,
  { log, registry }: Pick<Frame, 'log' | 'registry'>,
  leader: Leader,
): AuditWorker {
  const gitPaths = () => branchPaths(read.gitRemote, read.gitBranch, accessOf(read));
  const clock = systemClock;
  return new AuditWorker({
    doors: { ...doors, gitPaths, argocd: read.delivery === 'argocd', now: () => clock.now() },
    everyMs: read.auditMinutes * 60_000,
    clock,
    log,
    registry,
    leads: () => leader.state === 'leading',
  });
}

process.exit(await runProcess({ part: 'operator', settings, start, drainMs: DRAIN_MS }));
