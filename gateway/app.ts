import type { AddressInfo } from 'node:net';
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import type { Registry } from 'prom-client';
import { createHttpApp, toProblem } from '../config/http.ts';
import type { Logger } from '../config/log.ts';
import { createRegistry } from '../config/ops.ts';
import type { ResourceStore } from '../crds/store.ts';
import type { LedgerClient } from '../ledger/client.ts';
import { Contracts } from './admission/contracts.ts';
import { Entitlements } from './admission/entitlement.ts';
import { Instances } from './admission/instances.ts';
import { RateLimits } from './admission/limits.ts';
import { Overload } from './admission/overload.ts';
import { addCatalogRoutes } from './catalog/routes.ts';
import { addRequestRoutes } from './control/requests.ts';
import { addControlRoutes } from './control/routes.ts';
import { addSecretRoutes } from './control/secrets.ts';
import type { Edge, EdgePlugin, EdgeRole } from './edge.ts';
import { ApiKeys } from './identity/api-keys.ts';
import { addAuthentication } from './identity/authenticate.ts';
import { addResourceMetadata } from './identity/resource-metadata.ts';
import { TokenVerifier } from './identity/tokens.ts';
import { createEdgeMetrics } from './metrics.ts';
import { addAccountRoutes } from './runs/accounts.ts';
import { addRunRoutes } from './runs/routes.ts';
import { RunnerClient } from './runs/runner-client.ts';
import type { TicketBooth } from './ticket.ts';

export type { EdgePlugin, EdgeRole } from './edge.ts';

/** Bodies of routes that set no limit of their own. */
const BODY_LIMIT_BYTES = 64 * 1024;

/** Runs that one process carries at once: each holds two sockets and a little memory. */
const MAX_RUNS = 1_000;

/** How long a closing edge waits for its runs before it cuts them off. */
const DRAIN_MS = 30_000;

/** After that, replies have this long to leave. */
const CLOSE_GRACE_MS = 1_000;

const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An access token, or an API key (gsvk_…).' },
} as const;

export interface GatewayOptions {
  store: ResourceStore;
  ledger: LedgerClient;
  booth: TicketBooth;
  runnerUrl: string;
  oidc: { issuer: string; audience: string };
  /** How buyers reach the edge; absent: the address that it listens on. */
  publicUrl?: string | undefined;
  role: EdgeRole;
  log: Logger;
  /** Absent: 127.0.0.1. */
  host?: string | undefined;
  /** Absent or 0: a free one. */
  port?: number | undefined;
  plugins?: readonly EdgePlugin[] | undefined;
  /** Milliseconds since the epoch; absent: the system's. */
  clock?: (() => number) | undefined;
  /** Absent: a new one; see `Gateway.registry`. */
  registry?: Registry | undefined;
  /** Runs at once in this process; absent: 1000. */
  maxRuns?: number | undefined;
  /** Milliseconds that a closing edge waits for its runs; absent: 30 000. */
  drainMs?: number | undefined;
}

export interface EdgeRoute {
  method: string;
  url: string;
  access: 'public' | 'caller' | 'keys';
}

export interface Gateway {
  /** Where it listens. */
  url: string;
  /** Every route with who may come in; the authorization tests enumerate it. */
  routes: readonly EdgeRoute[];
  registry: Registry;
  /** What still keeps it from serving; for the ops port. */
  ready(): Promise<readonly string[]>;
  /** Refuses new runs, lets those under way end, then stops. Store and ledger stay open: they are the caller's. */
  close(): Promise<void>;
}

/** Builds the edge and starts to listen. */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const clock = options.clock ?? Date.now;
  const registry = options.registry ?? createRegistry('gateway');
  const address = { url: '' };
  const publicUrl = (): string => options.publicUrl ?? address.url;
  const edge = createEdge(options, registry, publicUrl, clock);
  const tokens = new TokenVerifier({ ...options.oidc, clock });
  const apiKeys = new ApiKeys(options.store.watch('ApiKey'), clock);
  const plugins = (options.plugins ?? []).filter((plugin) => serves(options.role, plugin.roles));
  const routes: EdgeRoute[] = [];

  const app = await createHttpApp({
    log: options.log,
    title: 'GSV Agent Store',
    bodyLimitBytes: BODY_LIMIT_BYTES,
    securitySchemes: SECURITY_SCHEMES,
  });
  addObservation(app, edge);
  await app.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      routes.push(...routesOf(route));
      route.schema = { ...route.schema, security: route.config?.access === 'public' ? [] : [{ bearer: [] }] };
    });
    addAuthentication(scope, { tokens, apiKeys, publicUrl });
    addResourceMetadata(scope, { issuer: options.oidc.issuer, publicUrl });
    if (serves(options.role, ['run'])) addRunRoutes(scope, edge);
    if (serves(options.role, ['api'])) {
      addCatalogRoutes(scope, edge);
      addControlRoutes(scope, edge);
      addRequestRoutes(scope, edge);
      addSecretRoutes(scope, edge);
      addAccountRoutes(scope, edge);
    }
    for (const plugin of plugins) await plugin.register(scope, edge);
  });
  const stop = async (): Promise<void> => {
    await app.close();
    await edge.runner.close();
    for (const plugin of plugins) await plugin.close?.();
    apiKeys.close();
    edge.entitlements.close();
  };
  try {
    await synced(options.store, edge);
    address.url = await listen(app, options);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: address.url,
    routes,
    registry,
    ready: () => obstacles(edge, tokens),
    close: async () => {
      await drained(edge, options.drainMs ?? DRAIN_MS);
      // Replies are out or given up by now; what is still open is idle or stuck.
      const cut = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS);
      await stop();
      clearTimeout(cut);
    },
  };
}

function createEdge(options: GatewayOptions, registry: Registry, publicUrl: () => string, clock: () => number): Edge {
  const { store, ledger, log } = options;
  const entitlements = new Entitlements(store);
  const overload = new Overload(options.maxRuns ?? MAX_RUNS);
  return {
    store,
    ledger,
    runner: new RunnerClient(options.runnerUrl, options.booth),
    entitlements,
    instances: new Instances(store, entitlements, clock),
    contracts: new Contracts(store),
    rates: new RateLimits(clock),
    overload,
    metrics: createEdgeMetrics(registry, () => overload.running),
    publicUrl,
    clock,
    log,
  };
}

function serves(role: EdgeRole, roles: readonly EdgeRole[]): boolean {
  return role === 'all' || roles.includes(role);
}

function routesOf(route: RouteOptions): EdgeRoute[] {
  const access = route.config?.access;
  if (access === undefined) return [];
  return [route.method]
    .flat()
    .filter((method) => method !== 'HEAD')
    .map((method) => ({ method, url: route.url, access }));
}

/** Every cache that a request reads is complete before the first request. */
async function synced(store: ResourceStore, edge: Edge): Promise<void> {
  await Promise.all([
    edge.entitlements.synced(),
    edge.instances.synced(),
    edge.contracts.synced(),
    store.watch('Offering').synced,
    store.watch('Project').synced,
    store.watch('Wallet').synced,
    store.watch('ApiKey').synced,
  ]);
}

async function listen(app: FastifyInstance, options: GatewayOptions): Promise<string> {
  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  const { family, address, port } = app.server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

function addObservation(app: FastifyInstance, edge: Edge): void {
  app.addHook('onError', async (_request, _reply, error) => {
    edge.metrics.problems.inc({ code: toProblem(error).code });
  });
  app.addHook('onResponse', async (request: FastifyRequest, reply) => {
    const route = request.routeOptions.url ?? 'none';
    edge.metrics.requests.inc({ route, method: request.method, status: reply.statusCode });
    edge.log.info(
      {
        requestId: request.id,
        method: request.method,
        route,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        subject: request.caller?.subject,
      },
      'request',
    );
  });
}

async function obstacles(edge: Edge, tokens: TokenVerifier): Promise<string[]> {
  const found: string[] = [];
  await tokens.ready().catch(() => found.push('the identity provider does not answer'));
  if (edge.overload.draining) found.push('this process is shutting down');
  return found;
}

async function drained(edge: Edge, drainMs: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, drainMs);
  await Promise.race([edge.overload.drain(), late.promise]);
  clearTimeout(timer);
}
