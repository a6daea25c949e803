import { blobStoreOf } from '../../config/artifacts.ts';
import { type Frame, runProcess, type Service } from '../../config/process.ts';
import { openVault } from '../../config/secrets/open.ts';
import { loadSettings, SettingsError, settingsOf } from '../../config/settings.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { LedgerClient } from '../../ledger/client.ts';
import { TicketBooth } from '../ticket.ts';
import { createRunner } from './app.ts';

/** The longest run that a contract may ask for, its drain and its settlement. Milliseconds. */
const DRAIN_MS = 140_000;

/** @throws SettingsError */
function settings() {
  const read = loadSettings(settingsOf('runner'), [
    'ledgerUrl',
    'ledgerToken',
    'ticketKey',
    'runnerProbeKey',
    'vaultAddr',
    'runtimeUrl',
    'runtimeKey',
    'artifactsUrl',
  ]);
  if (read.resources === 'embedded')
    throw new SettingsError([
      'GSV_RESOURCES=embedded is the quickstart’s own: no other process can share it; use npm run quickstart',
    ]);
  return read;
}

/** The runner as its own process: custom resources from Kubernetes, secrets from Vault, flows from the artifact store. */
async function start(read: ReturnType<typeof settings>, { log, registry }: Frame): Promise<Service> {
  const secrets = openVault(read, 'gsv-runner');
  const blobs = blobStoreOf(read);
  const store = await KubernetesStore.open({ log });
  const ledger = new LedgerClient({ url: read.ledgerUrl, token: () => read.ledgerToken.reveal() });
  const runner = await createRunner({
    store,
    ledger,
    secrets,
    blobs,
    registry,
    log,
    runtime: { url: read.runtimeUrl, key: read.runtimeKey },
    booth: new TicketBooth(() => read.ticketKey.reveal()),
    probeKey: read.runnerProbeKey,
    host: read.runnerHost,
    port: read.runnerPort,
  });
  log.info({ url: runner.url }, 'runner listens');
  return {
    ready: async () => (runner.ready() ? [] : ['the resource caches are not synced']),
    close: async () => {
      await runner.close();
      await Promise.all([store.close(), ledger.close(), secrets.close()]);
    },
  };
}

process.exit(await runProcess({ part: 'runner', settings, start, drainMs: DRAIN_MS }));
