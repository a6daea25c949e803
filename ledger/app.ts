import type { FastifyInstance } from 'fastify';
import { createHttpApp } from '../config/http.ts';
import type { Logger } from '../config/log.ts';
import type { LedgerMetrics } from './metrics.ts';
import { batchEndpoints } from './routes/batch.ts';
import { eventEndpoints } from './routes/events.ts';
import { fulfilmentEndpoints } from './routes/fulfilments.ts';
import { healthEndpoints } from './routes/health.ts';
import { holdEndpoints } from './routes/holds.ts';
import { inboxEndpoints } from './routes/inbox.ts';
import { orderEndpoints } from './routes/orders.ts';
import { outboxEndpoints } from './routes/outbox.ts';
import type { LedgerParts } from './routes/parts.ts';
import { recordEndpoints } from './routes/records.ts';
import { endpoint, SECURITY_SCHEME } from './routes/route.ts';
import { accountEndpoints, orderStatementEndpoints, statementEndpoints } from './routes/statements.ts';
import { walletEndpoints } from './routes/wallets.ts';
import type { Tokens } from './tokens.ts';

/** Bodies of single operations are a few KiB; batch and inbox raise it for themselves. */
const BODY_LIMIT_BYTES = 262_144;

export interface LedgerAppOptions {
  parts: LedgerParts;
  tokens: Tokens;
  metrics: LedgerMetrics;
  log: Logger;
}

/** The ledger's HTTP API, not yet listening. A route without a scope is an error at start. */
export async function createLedgerApp(options: LedgerAppOptions): Promise<FastifyInstance> {
  const app = await createHttpApp({
    log: options.log,
    title: 'GSV ledger',
    bodyLimitBytes: BODY_LIMIT_BYTES,
    securitySchemes: {
      [SECURITY_SCHEME]: { type: 'http', scheme: 'bearer', description: 'A service token with scopes.' },
    },
  });
  // The replies come as JSON from the database; schemas document them, tests hold them to it.
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === undefined) throw new Error(`${route.url} names no scope`);
  });
  observe(app, options.metrics);
  for (const endpoints of [
    walletEndpoints,
    fulfilmentEndpoints,
    orderEndpoints,
    holdEndpoints,
    batchEndpoints,
    recordEndpoints,
    statementEndpoints,
    orderStatementEndpoints,
    accountEndpoints,
    eventEndpoints,
    inboxEndpoints,
    outboxEndpoints,
    healthEndpoints,
  ]) {
    for (const definition of endpoints(options.parts)) endpoint(app, options.tokens, definition);
  }
  return app;
}

function observe(app: FastifyInstance, metrics: LedgerMetrics): void {
  app.addHook('onSend', async (_request, reply, payload) => {
    if (reply.statusCode >= 400 && typeof payload === 'string') metrics.refused(payload);
    return payload;
  });
  app.addHook('onResponse', async (request, reply) => {
    metrics.answered(request.method, request.routeOptions.url ?? 'none', reply.statusCode, reply.elapsedTime / 1000);
  });
}
