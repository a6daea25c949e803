import { type Frame, runProcess, type Service } from '../config/process.ts';
import { loadSettings, SettingsError, settingsOf } from '../config/settings.ts';
import { KubernetesStore } from '../crds/store/kubernetes.ts';
import { LedgerClient } from '../ledger/client.ts';
import { createGateway } from './app.ts';
import { commercePlugin } from './commerce/plugin.ts';
import { remoteShopKeys } from './commerce/signature.ts';
import { TicketBooth } from './ticket.ts';

/** Longer than the edge waits for its own runs, and than its load balancer needs to look elsewhere. Milliseconds. */
const DRAIN_MS = 45_000;

/** @throws SettingsError */
function settings() {
  const read = loadSettings(settingsOf('gateway'), [
    'ledgerUrl',
    'ledgerToken',
    'runnerUrl',
    'ticketKey',
    'oidcIssuer',
  ]);
  if (read.resources === 'embedded')
    throw new SettingsError([
      'GSV_RESOURCES=embedded is the quickstart’s own: several processes cannot share it; run npm run quickstart',
    ]);
  return read;
}

/** The edge as a process of its own: custom resources from Kubernetes, the book from the ledger. */
async function start(read: ReturnType<typeof settings>, { log, registry }: Frame): Promise<Service> {
  const store = await KubernetesStore.open({ log });
  const ledger = new LedgerClient({ url: read.ledgerUrl, token: () => read.ledgerToken.reveal() });
  const shops = read.saleorShops ?? [];
  const gateway = await createGateway({
    store,
    ledger,
    registry,
    log,
    booth: new TicketBooth(() => read.ticketKey.reveal()),
    runnerUrl: read.runnerUrl,
    oidc: { issuer: read.oidcIssuer, audience: read.oidcAudience },
    publicUrl: read.publicUrl,
    role: read.gatewayRole,
    host: read.gatewayHost,
    port: read.gatewayPort,
    plugins: shops.length === 0 ? [] : [commercePlugin({ shops, keys: remoteShopKeys() })],
  });
  log.info({ url: gateway.url, role: read.gatewayRole, shops: shops.length }, 'gateway listens');
  if (shops.length === 0) log.info('GSV_SALEOR_SHOPS is not set: commerce is off');
  return {
    ready: () => gateway.ready(),
    close: async () => {
      await gateway.close();
      await store.close();
      await ledger.close();
    },
  };
}

process.exit(await runProcess({ part: 'gateway', settings, start, drainMs: DRAIN_MS }));
