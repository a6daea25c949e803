import { createHash, randomBytes } from 'node:crypto';
import { createLogger } from '../../config/log.ts';
import { compileContract } from '../../crds/contract.ts';
import type { CapabilitySpec, InstanceSpec, InstanceStatus, OfferingSpec } from '../../crds/generated/kinds.ts';
import type { Instance } from '../../crds/kinds.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../../gateway/app.ts';
import { TicketBooth } from '../../gateway/ticket.ts';
import { type Issuer, startIssuer } from '../issuer/issuer.ts';
import { type FakeRunner, startFakeRunner } from './fake-runner.ts';
import { startTestLedger, type TestLedger } from './ledger.ts';

/** Who calls; each is a member of the sample organizations in a different way. */
export const PEOPLE = ['viewer', 'operator', 'admin', 'billing', 'stranger', 'unverified', 'narrow'] as const;
export type Person = (typeof PEOPLE)[number];

export const AUDIENCE = 'gsv-gateway';
export const RESERVE = 20_000;
/** The version of claims-agent whose contract lets a run go on without its client. */
export const DRAINING = '1.1.0';
const WRITER = { fieldManager: 'edge-world' };
const NOW = '2026-01-01T00:00:00Z';

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
  body: any;
}

export interface CallOptions {
  /** A person, `key` = the API key, `none`, or a token as it is. */
  as?: Person | 'key' | 'none' | (string & {});
  body?: unknown;
  raw?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** URL of another edge. */
  at?: string;
}

/** An edge on real parts: issuer, store, ledger. Only the runner is a double. */
export interface EdgeWorld {
  store: EmbeddedStore;
  ledger: TestLedger;
  issuer: Issuer;
  runner: FakeRunner;
  gateway: Gateway;
  booth: TicketBooth;
  apiKey: string;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** Starts another edge on the same parts. */
  another(options: Partial<GatewayOptions>): Promise<Gateway>;
  fund(amount: number, wallet?: string): Promise<void>;
  makeInstance(name: string, spec?: Partial<InstanceSpec>, status?: Partial<InstanceStatus>): Promise<Instance>;
  /** The id of the run that the runner got after the first `count` ones; waits for it. */
  started(count: number): Promise<string>;
  /** Sum of what holds reserve in acme's wallet now: 0 when nothing was left behind. */
  held(): Promise<number>;
  close(): Promise<void>;
}

const CAPABILITY: CapabilitySpec = {
  version: '1.0.0',
  display: { title: 'Claims' },
  config: {
    schema: {
      type: 'object',
      additionalProperties: false,
      properties: { tone: { type: 'string', enum: ['formal', 'plain'] }, region: { type: 'string', maxLength: 8 } },
    },
    mutableKeys: ['tone'],
  },
  secrets: [
    { name: 'crm-key', source: 'Buyer', description: 'Key of your CRM' },
    { name: 'signing', source: 'Generated' },
  ],
  limits: { requestsPerMinute: 600, concurrentRuns: 4, runSeconds: 30, inputBytes: 2_000 },
  metering: {
    dimensions: [{ name: 'run', unit: 'run', source: 'Run', priceMicrocredits: RESERVE, perUnits: 1, reserveUnits: 1 }],
  },
};

export async function startEdgeWorld(options: Partial<GatewayOptions> = {}): Promise<EdgeWorld> {
  const log = createLogger({ part: 'gateway', level: 'fatal' });
  const [ledger, issuer, store] = await Promise.all([startTestLedger(), startTestIssuer(), EmbeddedStore.open()]);
  const ticketKey = randomBytes(32).toString('hex');
  const booth = new TicketBooth(() => ticketKey);
  const runner = await startFakeRunner(booth, ledger.client);
  const apiKey = `gsvk_${randomBytes(32).toString('base64url')}`;
  const digest = await fillStore(store, issuer, apiKey);
  for (const organization of ['acme', 'globex'])
    await ledger.client.putWallet(`${organization}.main`, { ownerUid: `uid-${organization}` });
  const another = (more: Partial<GatewayOptions>): Promise<Gateway> =>
    createGateway({
      store,
      ledger: ledger.client,
      booth,
      runnerUrl: runner.url,
      oidc: { issuer: issuer.url, audience: AUDIENCE },
      role: 'all',
      log,
      ...options,
      ...more,
    });
  const gateway = await another({});
  let grants = 0;
  return {
    store,
    ledger,
    issuer,
    runner,
    gateway,
    booth,
    apiKey,
    another,
    call: async (method, path, request = {}) =>
      send((request.at ?? gateway.url) + path, method, await bearer(request.as), request),
    fund: async (amount, wallet = 'acme.main') => {
      await ledger.client.grant(wallet, { amount, kind: 'manual' }, `fund-${grants++}`);
    },
    makeInstance: (name, spec, status) => makeInstance(store, digest, name, spec, status),
    started: async (count) => {
      for (;;) {
        const ticket = runner.started[count];
        if (ticket) return ticket.runId;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    held: async () => (await ledger.client.getWallet('acme.main')).held,
    close: async () => {
      await gateway.close();
      await runner.close();
      await Promise.all([ledger.close(), issuer.close(), store.close()]);
    },
  };

  async function bearer(as: CallOptions['as'] = 'operator'): Promise<string | undefined> {
    if (as === 'none') return undefined;
    if (as === 'key') return apiKey;
    return PEOPLE.includes(as as Person) ? issuer.mint(`${as}@example.com`) : as;
  }
}

function startTestIssuer(): Promise<Issuer> {
  return startIssuer({
    audience: AUDIENCE,
    clientId: 'gsv-store',
    accounts: PEOPLE.map((person) => ({
      // Not the case in which the Team writes it.
      email: person === 'operator' ? 'Operator@Example.com' : `${person}@example.com`,
      emailVerified: person !== 'unverified',
      name: person,
      sub: `sub-${person}`,
      ...(person === 'viewer' ? { groups: ['acme-viewers'] } : {}),
    })),
  });
}

async function fillStore(store: EmbeddedStore, issuer: Issuer, apiKey: string): Promise<string> {
  const capabilities = new Map([['claims', CAPABILITY]]);
  const terms = {
    offeringRef: { name: 'claims-agent' },
    version: '1.0.0',
    artifact: {
      uri: `artifact://sha256/${'a'.repeat(64)}`,
      sha256: 'a'.repeat(64),
      sizeBytes: 2,
      format: 'LangflowJson' as const,
    },
    capabilities: [{ name: 'claims', version: '1.0.0' }],
    plans: [
      { name: 'starter', includedMicrocredits: 0 },
      { name: 'slow', includedMicrocredits: 0, limits: { requestsPerMinute: 2, concurrentRuns: 1 } },
    ],
    onDisconnect: 'Abort' as const,
  };
  const digest = await makeVersion(store, terms, capabilities);
  await makeVersion(store, { ...terms, version: DRAINING, onDisconnect: 'Drain' }, capabilities);
  await makeOffering(store, 'claims-agent', { lifecycle: 'Published', channel: '1.0.0' });
  await makeOffering(store, 'paused-agent', { lifecycle: 'Paused', channel: '1.0.0' });
  await makeOffering(store, 'retired-agent', { lifecycle: 'EndOfSale', channel: '1.0.0' });
  await makeOffering(store, 'ended-agent', { lifecycle: 'EndOfLife', channel: '1.0.0' });
  await makeOffering(store, 'draft-agent', { lifecycle: 'Draft' });
  for (const name of ['acme', 'globex']) await makeOrganization(store, name);
  const members = [
    { name: 'operator', email: 'operator@example.com' },
    { name: 'unverified', email: 'unverified@example.com' },
    { name: 'keeper', subject: `${issuer.url}|sub-keeper` },
  ];
  await makeTeam(store, 'acme', 'operators', members, [{ name: 'run', role: 'Operator' }]);
  await makeTeam(store, 'acme', 'viewers', [{ name: 'group', group: 'acme-viewers' }], [{ name: 'v', role: 'Viewer' }]);
  const admin = [{ name: 'admin', subject: `${issuer.url}|sub-admin` }];
  await makeTeam(store, 'acme', 'admins', admin, [{ name: 'a', role: 'Admin' }]);
  const billing = [{ name: 'billing', email: 'billing@example.com' }];
  await makeTeam(store, 'acme', 'billing', billing, [{ name: 'b', role: 'Billing' }]);
  const narrow = [{ name: 'narrow', email: 'narrow@example.com' }];
  await makeTeam(store, 'acme', 'narrow', narrow, [{ name: 'n', role: 'Operator', projectRef: { name: 'other' } }]);
  const stranger = [{ name: 'stranger', email: 'stranger@example.com' }];
  await makeTeam(store, 'globex', 'admins', stranger, [{ name: 's', role: 'Admin' }]);
  await store.create('ApiKey', {
    metadata: { name: 'robot', namespace: 'gsv-org-acme' },
    spec: { hash: hashKey(apiKey), owner: `${issuer.url}|sub-keeper`, instances: ['claims'] },
  });
  await makeInstance(store, digest, 'claims');
  return digest;
}

async function makeVersion(
  store: EmbeddedStore,
  terms: Parameters<typeof compileContract>[0],
  capabilities: ReadonlyMap<string, CapabilitySpec>,
): Promise<string> {
  const { contract, digest } = compileContract(terms, capabilities);
  await store.create('OfferingVersion', {
    metadata: { name: `${terms.offeringRef.name}-${terms.version}` },
    spec: { ...terms, contract: contract as unknown as Record<string, unknown>, contractDigest: digest },
  });
  return digest;
}

function hashKey(key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

async function makeOffering(
  store: EmbeddedStore,
  name: string,
  spec: Pick<OfferingSpec, 'lifecycle'> & { channel?: string },
) {
  await store.create('Offering', {
    metadata: { name },
    spec: { category: 'Agent', display: { title: `The ${name}` }, languages: ['en'], ...spec },
  });
}

async function makeOrganization(store: EmbeddedStore, name: string): Promise<void> {
  const namespace = `gsv-org-${name}`;
  await store.create('Organization', { metadata: { name }, spec: { display: { title: name } } });
  await store.create('Namespace', { metadata: { name: namespace }, spec: {} });
  for (const project of ['default', 'other'])
    await store.create('Project', { metadata: { name: project, namespace }, spec: {} });
  await store.create('Wallet', { metadata: { name: 'main', namespace }, spec: {} });
}

async function makeTeam(
  store: EmbeddedStore,
  organization: string,
  name: string,
  members: { name: string; subject?: string; email?: string; group?: string }[],
  grants: { name: string; role: 'Viewer' | 'Operator' | 'Admin' | 'Billing'; projectRef?: { name: string } }[],
): Promise<void> {
  await store.create('Team', { metadata: { name, namespace: `gsv-org-${organization}` }, spec: { members, grants } });
}

async function makeInstance(
  store: EmbeddedStore,
  contractDigest: string,
  name: string,
  spec: Partial<InstanceSpec> = {},
  status: Partial<InstanceStatus> = {},
): Promise<Instance> {
  const namespace = 'gsv-org-acme';
  const { uid } = (
    await store.create('Instance', {
      metadata: { name, namespace },
      spec: {
        projectRef: { name: 'default' },
        offeringRef: { name: 'claims-agent' },
        plan: 'starter',
        walletRef: { name: 'main' },
        fulfilment: { shop: 'https://shop.example/graphql/', order: 'T3JkZXI6MQ==', line: 'TGluZTox', ordinal: 0 },
        ...spec,
      },
    })
  ).metadata;
  const ready = {
    type: 'Ready',
    status: 'True' as const,
    reason: 'Succeeded',
    message: 'It is ready.',
    observedGeneration: 1,
    lastTransitionTime: NOW,
  };
  const made: InstanceStatus = {
    observedGeneration: 1,
    lifecycle: 'Active',
    version: '1.0.0',
    contractDigest,
    commit: 'c'.repeat(40),
    conditions: [ready],
    ...status,
  };
  const instance = await store.applyStatus('Instance', { name, namespace }, made, WRITER);
  if (instance.metadata.uid !== uid) throw new Error('another Instance was there');
  await cached(store, name);
  return instance;
}

/** The edge reads the cache; a test must not race with it. */
async function cached(store: EmbeddedStore, name: string): Promise<void> {
  const cache = store.watch('Instance');
  await cache.synced;
  while (!cache.get({ name, namespace: 'gsv-org-acme' })?.status) await new Promise((resolve) => setImmediate(resolve));
}

async function send(url: string, method: string, bearer: string | undefined, options: CallOptions): Promise<Answer> {
  const body = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  const response = await fetch(url, {
    method,
    headers: {
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(body === undefined ? {} : { body }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.includes('json') === true && text !== '';
  return { status: response.status, headers: response.headers, text, body: json ? JSON.parse(text) : undefined };
}
