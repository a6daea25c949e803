import type { AddressInfo } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Registry } from 'prom-client';
import type { BlobStore } from '../../config/artifacts.ts';
import { createHttpApp } from '../../config/http.ts';
import type { Logger } from '../../config/log.ts';
import type { SecretsBroker } from '../../config/secrets.ts';
import type { Secret } from '../../config/settings.ts';
import { PLATFORM_MAXIMA } from '../../crds/contract.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { LedgerClient } from '../../ledger/client.ts';
import type { TicketBooth } from '../ticket.ts';
import { Bindings } from './binding.ts';
import { Executor } from './execute.ts';
import { runnerMetrics } from './metrics.ts';
import { Results } from './results.ts';
import { addProbeRoute, addRunRoutes, addSecretRoute } from './routes.ts';
import { RunBook } from './runs.ts';
import { Runtimes } from './runtimes.ts';
import { Settlement } from './settle.ts';

/** A capture is tried this long after a run; the hold is extended to outlive it. */
export const SETTLE_SECONDS = 30;

/** The largest input, every character of it escaped as `\uXXXX`, and some room for the rest. */
const BODY_LIMIT_BYTES = 6 * PLATFORM_MAXIMA.inputBytes + 64 * 1024;

export interface RunnerOptions {
  store: ResourceStore;
  ledger: LedgerClient;
  secrets: SecretsBroker;
  blobs: BlobStore;
  /** `workflowsPath` absent: `/api/v2/workflows`. */
  runtime: { url: string; key: Secret; workflowsPath?: string };
  /** Address of an Instance's own runtime (profile Namespace). Absent: its Service's. */
  locateRuntime?: ((instance: string, workloadNamespace: string) => string) | undefined;
  booth: TicketBooth;
  probeKey: Secret;
  log: Logger;
  /** Milliseconds since the epoch; stamps results and ends their 24 h. Absent: the system's. */
  clock?: (() => number) | undefined;
  /** Absent: a registry of its own. */
  registry?: Registry | undefined;
  /** 0 or absent: a free port. */
  port?: number | undefined;
  /** Absent: 127.0.0.1. */
  host?: string | undefined;
  /** Absent: {@link SETTLE_SECONDS}. */
  settleSeconds?: number | undefined;
}

export interface RunnerServer {
  url: string;
  /** True once the resource caches are complete. */
  ready(): boolean;
  /** Takes no new runs, waits until those in progress are settled, then closes. */
  close(): Promise<void>;
}

/** The private half of the data plane: executes flows and settles them. Everything it needs is passed in. */
export async function createRunner(options: RunnerOptions): Promise<RunnerServer> {
  const { store, ledger, secrets, blobs, booth, probeKey, log } = options;
  const settleMs = (options.settleSeconds ?? SETTLE_SECONDS) * 1000;
  const metrics = runnerMetrics(options.registry ?? new Registry());
  const { url, key, workflowsPath } = options.runtime;
  const bindings = new Bindings(store);
  const shared = { url, key: () => key.reveal(), workflowsPath };
  const runtimes = new Runtimes({ shared, bindings, blobs, secrets, locate: options.locateRuntime });
  const results = new Results(blobs, options.clock ?? Date.now);
  const settlement = new Settlement({ ledger, results, metrics, settleMs });
  const executor = new Executor({ bindings, runtimes, secrets, settlement, results, ledger, settleMs });
  const runs = new RunBook({ executor, results, metrics, log });

  const app = await createHttpApp({ log, title: 'GSV runner (internal)', bodyLimitBytes: BODY_LIMIT_BYTES });
  addRunRoutes(app, { booth, runs });
  addSecretRoute(app, { booth, bindings, secrets });
  addProbeRoute(app, { probeKey, bindings, runtimes, secrets, log });
  const health = addHealthRoutes(app, bindings);

  await app.listen({ port: options.port ?? 0, host: options.host ?? '127.0.0.1' });
  health.synced.catch((error: unknown) => log.error({ err: error }, 'the resource caches do not fill'));
  return {
    url: baseUrl(app),
    ready: health.ready,
    close: async () => {
      await runs.drain();
      await app.close();
      await runtimes.close();
    },
  };
}

/** Ready once the caches are: a runtime that is down answers runs with its own, typed problem. */
function addHealthRoutes(app: FastifyInstance, bindings: Bindings): { synced: Promise<void>; ready: () => boolean } {
  let ready = false;
  const synced = bindings.synced().then(() => {
    ready = true;
  });
  app.get('/livez', { schema: { hide: true } }, async () => ({ live: true }));
  app.get('/readyz', { schema: { hide: true } }, async (_request: FastifyRequest, reply: FastifyReply) =>
    reply
      .status(ready ? 200 : 503)
      .send(ready ? { ready } : { ready, reasons: ['the resource caches are not synced'] }),
  );
  return { synced, ready: () => ready };
}

function baseUrl(app: FastifyInstance): string {
  const address = app.server.address() as AddressInfo;
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}
