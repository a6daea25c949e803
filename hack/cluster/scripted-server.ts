import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** A request as the server saw it. */
export interface Seen {
  method: string;
  path: string;
  query: Record<string, string>;
  body: unknown;
}

export type Reply = (response: ServerResponse, seen: Seen) => void;

/**
 * An HTTP server that answers like an API server in trouble: each call and each watch takes the next
 * reply of its script. A watch without one stays open and silent; a call without one is a 500.
 */
export class ScriptedServer {
  readonly calls: Reply[] = [];
  readonly watches: Reply[] = [];
  readonly seen: Seen[] = [];
  kubeconfig = '';
  readonly #server: Server;
  #folder = '';

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<ScriptedServer> {
    const scripted = new ScriptedServer();
    await new Promise<void>((done) => scripted.#server.listen(0, '127.0.0.1', done));
    const { port } = scripted.#server.address() as AddressInfo;
    scripted.#folder = await mkdtemp(join(tmpdir(), 'gsv-scripted-'));
    scripted.kubeconfig = join(scripted.#folder, 'kubeconfig');
    const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
    const config = {
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token: 'a-token' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(scripted.kubeconfig, stringify(config));
    return scripted;
  }

  get watchesSeen(): Seen[] {
    return this.seen.filter((each) => each.query.watch === 'true');
  }

  get callsSeen(): Seen[] {
    return this.seen.filter((each) => each.query.watch !== 'true');
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const query = Object.fromEntries(url.searchParams);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const seen = { method: request.method ?? '', path: url.pathname, query, body };
    this.seen.push(seen);
    if (query.watch === 'true') (this.watches.shift() ?? open)(response, seen);
    else (this.calls.shift() ?? status(500, 'InternalError', 'the script has ended'))(response, seen);
  }
}

/** An answer of 200. */
export function json(body: unknown): Reply {
  return (response) => send(response, 200, body);
}

/** An error as Kubernetes says it. */
export function status(code: number, reason: string, message: string, details: object = {}): Reply {
  return (response) => send(response, code, { kind: 'Status', code, reason, message, details });
}

/** Ends the connection with a reset and without an answer. */
export const reset: Reply = (response) => void response.socket?.resetAndDestroy();

/** A watch on which nothing comes. */
export const open: Reply = (response) => void response.writeHead(200).flushHeaders();

/** A watch that sends these lines and stays open; `then` says how it goes on. */
export function events(lines: readonly (object | string)[], then?: 'end' | 'reset'): Reply {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const text = lines.map((line) => (typeof line === 'string' ? line : `${JSON.stringify(line)}\n`)).join('');
    response.write(text, () => {
      if (then === 'end') response.end();
      if (then === 'reset') response.socket?.resetAndDestroy();
    });
  };
}

/** One page of a list. */
export function page(items: readonly object[], resourceVersion: string, next?: string): Reply {
  return json({ metadata: { resourceVersion, ...(next ? { continue: next } : {}) }, items });
}

function send(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
