import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Logger } from './log.ts';

/** A readiness check that takes longer counts as not ready; Kubernetes' own probe timeout is 1 s by default. */
const READY_TIMEOUT_MS = 900;

/**
 * What still keeps the process from serving, one sentence each; empty = ready. A rejection counts as
 * not ready; its text is logged, not answered.
 */
export type ReadyCheck = () => Promise<readonly string[]>;

export interface OpsOptions {
  /** `GSV_OPS_PORT`; 0 = off. */
  port: number;
  /** Address to listen on; absent: 127.0.0.1. */
  host?: string | undefined;
  log: Logger;
  ready: ReadyCheck;
  /** More to say at `/readyz`, whatever the answer is, e.g. whether this process leads. */
  about?: () => Record<string, string>;
  registry: Registry;
}

export interface OpsServer {
  /** Base URL; undefined when off. */
  readonly url: string | undefined;
  close(): Promise<void>;
}

/** A registry with the process' own figures (CPU, memory, event loop lag) under the prefix `gsv_`. */
export function createRegistry(part: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ part });
  collectDefaultMetrics({ register: registry, prefix: 'gsv_' });
  return registry;
}

/** Runs a readiness check within its time limit and never rejects. */
export async function readiness(ready: ReadyCheck, log: Logger): Promise<readonly string[]> {
  const late = Promise.withResolvers<readonly string[]>();
  const timer = setTimeout(() => late.resolve(['the readiness check takes too long']), READY_TIMEOUT_MS);
  try {
    return await Promise.race([ready(), late.promise]);
  } catch (error) {
    log.warn({ err: error }, 'readiness check failed');
    return ['the readiness check failed'];
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Serves `/livez` (200 as long as the event loop turns), `/readyz` (200, or 503 with the reasons) and
 * `/metrics` (Prometheus text) without a token, apart from the API port.
 */
export async function startOps(options: OpsOptions): Promise<OpsServer> {
  if (options.port === 0) return { url: undefined, close: async () => {} };
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, { error: 'use GET' });
    answer(path, response, options).catch((error: unknown) => {
      options.log.error({ err: error }, 'ops request failed');
      send(response, 500, { error: 'failed' });
    });
  });
  server.listen(options.port, options.host ?? '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    url: `http://${host}:${address.port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(path: string | undefined, response: ServerResponse, options: OpsOptions): Promise<void> {
  if (path === '/livez') return send(response, 200, { live: true });
  if (path === '/readyz') {
    const reasons = await readiness(options.ready, options.log);
    const about = options.about?.() ?? {};
    if (reasons.length > 0) return send(response, 503, { ready: false, reasons, ...about });
    return send(response, 200, { ready: true, ...about });
  }
  if (path === '/metrics') {
    const text = await options.registry.metrics();
    response.writeHead(200, { 'content-type': options.registry.contentType }).end(text);
    return;
  }
  send(response, 404, { error: 'not found' });
}

function send(response: ServerResponse, status: number, body: Record<string, unknown>): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
