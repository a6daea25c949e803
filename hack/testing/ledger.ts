import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import { createLogger } from '../../config/log.ts';
import { Secret } from '../../config/settings.ts';
import { LedgerClient } from '../../ledger/client.ts';
import { createLedger, type Ledger } from '../../ledger/main.ts';
import type { OpenMeterOptions } from '../../ledger/openmeter.ts';
import { SCOPES, singleToken, type Tokens } from '../../ledger/tokens.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';

/** The token with every scope. */
export const ALL_SCOPES_TOKEN = 'test-token-with-all-scopes';

export interface Reply {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
  body: any;
}

export interface RequestOptions {
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  raw?: string;
  key?: string | undefined;
  /** Absent: all scopes. `null`: no token. */
  token?: string | null;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** A real ledger over HTTP on a database of its own, with a clock that a test can move. */
export interface TestLedger {
  url: string;
  opsUrl: string | undefined;
  database: TestDatabase;
  ledger: Ledger;
  client: LedgerClient;
  /** What the ledger logged, line by line. */
  logs: string[];
  /** Moves the ledger's clock. */
  advance(seconds: number): void;
  now(): Date;
  /** Sends a request and holds the reply to the OpenAPI document: an undocumented one is an error. */
  request(method: string, path: string, options?: RequestOptions): Promise<Reply>;
  close(): Promise<void>;
}

export async function startTestLedger(
  options: {
    tokens?: Tokens;
    opsPort?: number;
    databaseUrl?: (url: string) => Promise<string>;
    openmeter?: OpenMeterOptions;
    /** Absent: the time that it is, plus what the test has advanced. */
    now?: () => Date;
  } = {},
): Promise<TestLedger> {
  const database = await createTestDatabase();
  const logs: string[] = [];
  const log = createLogger({ part: 'ledger', level: 'info', destination: { write: (line) => void logs.push(line) } });
  let offset = 0;
  const now = options.now ?? ((): Date => new Date(Date.now() + offset));
  const ledger = await createLedger({
    port: 0,
    opsPort: options.opsPort ?? 0,
    databaseUrl: (await options.databaseUrl?.(database.url)) ?? database.url,
    dataDir: '',
    openmeter: options.openmeter,
    tokens: options.tokens ?? singleToken(Secret.of(ALL_SCOPES_TOKEN), log),
    log,
    now,
  }).catch(async (error: unknown) => {
    // Or the server of all databases would wait for this one.
    await database.close();
    throw error;
  });
  const client = new LedgerClient({ url: ledger.url, token: () => ALL_SCOPES_TOKEN });
  const check = await replyCheck(ledger.url);
  return {
    url: ledger.url,
    opsUrl: ledger.opsUrl,
    database,
    ledger,
    client,
    logs,
    now,
    advance: (seconds) => {
      offset += seconds * 1000;
    },
    request: async (method, path, request = {}) => {
      const reply = await send(ledger.url, method, path, request);
      check(method, path, reply);
      return reply;
    },
    close: async () => {
      await client.close();
      await ledger.close();
      await database.close();
    },
  };
}

/** Tokens as `GSV_LEDGER_TOKENS_FILE` has them: one for each single scope, one with all, one with none. */
export function tokenPerScope(): Record<string, string[]> {
  return {
    [ALL_SCOPES_TOKEN]: [...SCOPES],
    'only-nothing': [],
    ...Object.fromEntries(SCOPES.map((scope) => [`only-${scope.replace(':', '-')}`, [scope]])),
  };
}

async function send(url: string, method: string, path: string, options: RequestOptions): Promise<Reply> {
  const body = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(options.token === null ? {} : { authorization: `Bearer ${options.token ?? ALL_SCOPES_TOKEN}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(options.key === undefined ? {} : { 'idempotency-key': options.key }),
      ...options.headers,
    },
    ...(body === undefined ? {} : { body }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.includes('json') === true;
  const parsed = json ? JSON.parse(text) : text;
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : parsed };
}

interface OpenApi {
  paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>
  >;
}

/** Compares every reply with the document that the ledger itself publishes. */
async function replyCheck(url: string): Promise<(method: string, path: string, reply: Reply) => void> {
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as OpenApi;
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  const routes = Object.entries(document.paths).map(([template, methods]) => ({
    pattern: new RegExp(`^${template.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}$`),
    literal: !template.includes('{'),
    methods,
  }));
  return (method, path, reply) => {
    const bare = path.split('?')[0] ?? '';
    const found = routes
      .filter((route) => route.pattern.test(bare))
      .sort((a, b) => Number(b.literal) - Number(a.literal));
    const responses = found[0]?.methods[method.toLowerCase()]?.responses;
    if (!responses) return;
    const documented = responses[reply.status] ?? responses[`${String(reply.status)[0]}XX`];
    const [type, content] = Object.entries(documented?.content ?? {})[0] ?? [];
    if (!content || !type) throw new Error(`${method} ${bare} answers an undocumented ${reply.status}`);
    if (!reply.headers.get('content-type')?.startsWith(type)) {
      throw new Error(`${method} ${bare} ${reply.status} is ${reply.headers.get('content-type')}, not ${type}`);
    }
    if (!ajv.validate(content.schema, reply.body)) {
      throw new Error(`${method} ${bare} ${reply.status} is not as documented: ${ajv.errorsText()}`);
    }
  };
}
