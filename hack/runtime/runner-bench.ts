import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Registry } from 'prom-client';
import { type BlobStore, openBlobStore, putArtifact } from '../../config/artifacts.ts';
import { createLogger } from '../../config/log.ts';
import { DevelopmentSecrets } from '../../config/secrets/development.ts';
import { instancePolicy, secretPath } from '../../config/secrets.ts';
import { Secret } from '../../config/settings.ts';
import { compileContract } from '../../crds/contract.ts';
import type { CapabilitySpec, OfferingVersionSpec } from '../../crds/generated/kinds.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { createRunner, type RunnerServer } from '../../gateway/runner/app.ts';
import { type RunTicket, TicketBooth } from '../../gateway/ticket.ts';
import { LedgerClient } from '../../ledger/client.ts';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../testing/ledger.ts';
import { startSampleRuntime } from './sample.ts';

/** What a test's wallet starts with, in microcredits. */
export const FUNDS = 1_000_000;
export const HOLD = 50_000;
const WORKLOAD = 'gsv-w-acme-default-00000000';
const PROBE_KEY = 'probe-key-0123456789';

export interface Bench {
  runner: RunnerServer;
  ledger: TestLedger;
  /** Between runner and ledger: can be cut, and remembers what went through. */
  gate: LedgerGate;
  secrets: DevelopmentSecrets;
  blobs: BlobStore;
  store: EmbeddedStore;
  runtime: { url: string; key: string };
  registry: Registry;
  logs: string[];
  wallet: string;
  booth: TicketBooth;
  close(): Promise<void>;
}

export interface BenchOptions {
  /** Absent: a sample runtime. */
  runtime?: { url: string; key: string };
  settleSeconds?: number;
  clock?: () => number;
  locateRuntime?: (instance: string, workloadNamespace: string) => string;
}

/** A runner between a real ledger and a sample runtime, on stores of its own. */
export async function startBench(options: BenchOptions = {}): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-runner-'));
  const ledger = await startTestLedger();
  const gate = await LedgerGate.start(ledger.url);
  const sample = options.runtime ? undefined : await startSampleRuntime({ key: randomBytes(16).toString('hex') });
  const runtime = options.runtime ?? sample ?? { url: '', key: '' };
  const logs: string[] = [];
  const store = await EmbeddedStore.open();
  for (const name of ['gsv-org-acme', 'gsv-org-globex'])
    await store.create('Namespace', { metadata: { name }, spec: {} });
  const secrets = new DevelopmentSecrets({ dataDir: folder, quickstart: true });
  const blobs = openBlobStore(pathToFileURL(join(folder, 'blobs')).href);
  const registry = new Registry();
  const booth = new TicketBooth(() => 'a-ticket-key-of-at-least-32-characters');
  const client = new LedgerClient({ url: gate.url, token: () => ALL_SCOPES_TOKEN, attempts: 1 });
  const runner = await createRunner({
    store,
    ledger: client,
    secrets,
    blobs,
    runtime: { url: runtime.url, key: Secret.of(runtime.key) },
    booth,
    probeKey: Secret.of(PROBE_KEY),
    log: createLogger({ part: 'runner', level: 'debug', destination: { write: (line) => void logs.push(line) } }),
    clock: options.clock,
    locateRuntime: options.locateRuntime,
    registry,
    settleSeconds: options.settleSeconds,
  });
  const wallet = 'acme.main';
  await ledger.client.putWallet(wallet, { ownerUid: randomUUID() });
  await ledger.client.grant(wallet, { amount: FUNDS, kind: 'purchased' }, 'funds');
  const close = async (): Promise<void> => {
    await runner.close();
    await client.close();
    await Promise.all([sample?.close(), gate.close(), store.close()]);
    await ledger.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { runner, ledger, gate, secrets, blobs, store, runtime, registry, logs, wallet, booth, close };
}

export interface TestInstance {
  organization: string;
  name: string;
  uid: string;
  contractDigest: string;
}

export interface InstanceOptions {
  organization?: string;
  name?: string;
  flow: Uint8Array;
  capability?: Partial<CapabilitySpec>;
  version?: Partial<OfferingVersionSpec>;
  config?: Record<string, unknown>;
  /** Absent: the status of a Ready Instance. */
  unbound?: boolean;
}

const RUN_DIMENSION = {
  name: 'run',
  unit: 'run',
  source: 'Run',
  priceMicrocredits: 12_000,
  perUnits: 1,
  reserveUnits: 1,
} as const;

/** Publishes a version for the flow and binds a new Instance to it. */
export async function addInstance(bench: Bench, options: InstanceOptions): Promise<TestInstance> {
  const { store, blobs, secrets } = bench;
  const organization = options.organization ?? 'acme';
  const name = options.name ?? `claims-${randomBytes(4).toString('hex')}`;
  const artifact = { ...(await putArtifact(blobs, options.flow)), format: 'LangflowJson' as const };
  const capability: CapabilitySpec = {
    version: '1.0.0',
    display: { title: 'Intake' },
    metering: { dimensions: [RUN_DIMENSION] },
    ...options.capability,
  };
  const terms = {
    offeringRef: { name },
    version: '1.0.0',
    artifact,
    capabilities: [{ name: 'intake', version: '1.0.0' }],
    plans: [{ name: 'starter', includedMicrocredits: 0 }],
    ...options.version,
  };
  const { contract, digest } = compileContract(terms, new Map([['intake', capability]]));
  const spec = { ...terms, contract: contract as unknown as Record<string, unknown>, contractDigest: digest };
  await store.create('OfferingVersion', { metadata: { name: `${name}-1.0.0` }, spec });
  const namespace = `gsv-org-${organization}`;
  const instance = await store.create('Instance', {
    metadata: { namespace, name },
    spec: {
      projectRef: { name: 'default' },
      offeringRef: { name },
      plan: 'starter',
      version: '1.0.0',
      walletRef: { name: 'main' },
      ...(options.config ? { config: options.config } : {}),
    },
  });
  const { uid } = instance.metadata;
  if (!options.unbound) {
    const status = { version: '1.0.0', contractDigest: digest, workloadNamespace: WORKLOAD };
    await store.applyStatus('Instance', { namespace, name }, status, { fieldManager: 'test' });
  }
  const rule = { path: `t/${WORKLOAD}/${uid}/*`, capabilities: ['read' as const] };
  await secrets.putPolicy(instancePolicy(uid), [rule]);
  return { organization, name, uid, contractDigest: digest };
}

export async function setSecret(bench: Bench, instance: TestInstance, name: string, value: string): Promise<void> {
  await bench.secrets.write(secretPath(WORKLOAD, instance.uid, name), { value });
}

/** A run ticket with a real hold behind it, as the edge makes them. */
export async function runTicket(
  bench: Bench,
  { contractDigest, ...instance }: TestInstance,
  more: Partial<RunTicket> = {},
  holdSeconds = 600,
): Promise<RunTicket & { hold: string }> {
  const runId = randomUUID();
  const context = { instance: `${instance.organization}/${instance.name}`, contractDigest, runId };
  const body = { wallet: bench.wallet, amount: HOLD, ttlSeconds: holdSeconds, instanceUid: instance.uid, context };
  const { hold } = await bench.ledger.client.hold(body, runId);
  return { purpose: 'run', runId, instance, hold, contractDigest, wallet: bench.wallet, ...more };
}

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: replies of every shape are looked into
  body: any;
  text: string;
}

export interface AskOptions {
  method?: string;
  body?: unknown;
  token?: string;
  ticket?: RunTicket;
  accept?: string;
  signal?: AbortSignal;
}

/** One call to the runner; a `ticket` is signed for a minute. */
export async function ask(bench: Bench, path: string, options: AskOptions = {}): Promise<Answer> {
  const token = options.ticket ? await bench.booth.sign(options.ticket, 60) : options.token;
  const response = await fetch(bench.runner.url + path, {
    method: options.method ?? 'POST',
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      accept: options.accept ?? 'application/json',
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  return { status: response.status, text, body: isJson && text !== '' ? JSON.parse(text) : undefined };
}

export function run(bench: Bench, ticket: RunTicket, input = 'hail damage, 300 EUR'): Promise<Answer> {
  return ask(bench, '/internal/runs', { ticket, body: { input } });
}

export function probe(bench: Bench, { organization, name }: TestInstance, key = PROBE_KEY): Promise<Answer> {
  return ask(bench, `/internal/probe/${organization}/${name}`, { token: key });
}

export interface StreamEvent {
  event: string;
  // biome-ignore lint/suspicious/noExplicitAny: events of every shape are looked into
  data: any;
}

export async function stream(bench: Bench, ticket: RunTicket, input = 'hail damage, 300 EUR'): Promise<StreamEvent[]> {
  const reply = await ask(bench, '/internal/runs', { ticket, body: { input }, accept: 'text/event-stream' });
  if (reply.status !== 200) throw new Error(`the stream is ${reply.status}: ${reply.text}`);
  return readEvents(reply.text);
}

export function readEvents(text: string): StreamEvent[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => {
      const [event = '', data = ''] = block.split('\n');
      return { event: event.slice('event: '.length), data: JSON.parse(data.slice('data: '.length)) };
    });
}

/** Waits for something that happens elsewhere. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`it never came true that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** An HTTP proxy in front of the ledger. */
export class LedgerGate {
  readonly url: string;
  /** `METHOD /path` of every call that reached it. */
  readonly calls: string[] = [];
  /** Whether a call is cut: before it reaches the ledger, or after (the reply is lost). */
  cut: (call: string) => 'before' | 'after' | undefined = () => undefined;
  readonly #close: () => Promise<void>;

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url;
    this.#close = close;
  }

  static async start(target: string): Promise<LedgerGate> {
    const server = createServer((request, response) => {
      gate.#pass(target, request, response).catch(() => response.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const gate = new LedgerGate(`http://127.0.0.1:${port}`, async () => {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, 'close');
    });
    return gate;
  }

  close(): Promise<void> {
    return this.#close();
  }

  count(verb: string): number {
    return this.calls.filter((call) => call.endsWith(`/${verb}`)).length;
  }

  async #pass(target: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = `${request.method} ${request.url}`;
    this.calls.push(call);
    const cut = this.cut(call);
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    if (cut === 'before') return void response.destroy();
    const headers = new Headers();
    for (const name of ['authorization', 'content-type', 'idempotency-key']) {
      const value = request.headers[name];
      if (typeof value === 'string') headers.set(name, value);
    }
    const body = chunks.length > 0 ? { body: Buffer.concat(chunks) } : {};
    const reply = await fetch(target + request.url, { method: request.method ?? 'GET', headers, ...body });
    const text = await reply.text();
    if (cut === 'after') return void response.destroy();
    const replayed = reply.headers.get('idempotency-replayed');
    response.writeHead(reply.status, {
      'content-type': reply.headers.get('content-type') ?? 'application/json',
      ...(replayed ? { 'idempotency-replayed': replayed } : {}),
    });
    response.end(text);
  }
}
