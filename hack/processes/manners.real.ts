/**
 * The manners of the whole store on a real API server, read from the API server's own audit log through one
 * scenario of every operation: what each account used of what `kustomize/base` grants it, that every status
 * ever written conforms, and that an operator that is started again writes nothing.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { isReady } from '../../crds/conditions.ts';
import { OWN_KINDS } from '../../crds/definitions.ts';
import { KINDS } from '../../crds/kinds.ts';
import { AuditLog, type Request } from '../cluster/audit.ts';
import { testCluster } from '../cluster/testing.ts';
import { awaitCredits, awaitReady, postOrder } from '../quickstart/order.ts';
import { Stopwatch } from '../quickstart/phases.ts';
import { writeViolations } from '../testing/operator/conformance.ts';
import { startRecordingProxy } from '../testing/recording-proxy.ts';
import { refused, shippedGrants, unusedGrants } from './grants.ts';
import { BUYER, startInstallation } from './installation.ts';
import { kubectl as run } from './kubectl.ts';

const NS = 'gsv-org-acme';
const OPERATOR = 'system:serviceaccount:gsv-system:gsv-operator';
/** No request of the operator for this long: it rests. Shorter than any fixed delay of a rung is no use. Milliseconds. */
const REST_MS = 4_000;
const PATIENCE_MS = 60_000;

/** Granted, and not used by this scenario: why it is granted all the same. A grant that gets used leaves the list. */
const RARE: Record<string, string> = {
  'gsv-runner: get projects.store.gsv.dev': 'a Project that the cache does not show yet',
  'gsv-operator: create events': 'an apply that creates asks for it, too; the log knows it as patch',
  ...Object.fromEntries(
    [
      ...['get', 'list', 'patch', 'watch'].map((verb) => `${verb} applications.argoproj.io`),
      ...['list', 'watch'].flatMap((verb) => [
        `${verb} deployments.apps`,
        `${verb} externalsecrets.external-secrets.io`,
      ]),
    ].map((grant) => [`gsv-operator: ${grant}`, 'with Argo CD only: argocd.real.ts shows that they are used']),
  ),
};

const audit = new AuditLog();
after(() => audit.remove());
const cluster = await testCluster({ apiServerArgs: audit.apiServerArgs });
const installation = await startInstallation(cluster);
after(() => installation.close());
const { store, ledger, urls } = installation;
const vault = await startRecordingProxy(installation.vault.url);
const book = await startRecordingProxy(urls.ledger);
after(() => Promise.all([vault.close(), book.close()]));
const environment = {
  GSV_VAULT_ADDR: vault.url,
  GSV_LEDGER_URL: book.url,
  GSV_DATA_DIR: join(installation.folder, 'operator-manners'),
};
const everything: Request[] = [];
let operator = installation.startOperator(environment);

const kubectl = (...args: string[]): Promise<string> => run(cluster.kubeconfig, ...args);

function collect(): Request[] {
  const requests = audit.requests();
  audit.mark();
  everything.push(...requests);
  return requests;
}

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`still not so: ${what}`);
    await delay(100);
  }
}

async function rest(): Promise<Request[]> {
  const seen: Request[] = [];
  const own = (): number => {
    const fresh = collect();
    seen.push(...fresh);
    return fresh.filter(({ user, resource }) => user === OPERATOR && resource !== 'leases').length;
  };
  for (let quietSince = performance.now(); performance.now() - quietSince < REST_MS; await delay(200))
    if (own() > 0) quietSince = performance.now();
  return seen;
}

async function call(method: string, path: string, body?: unknown): Promise<unknown> {
  const headers = {
    authorization: `Bearer ${await installation.issuer.mint(BUYER)}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  };
  const answer = await fetch(urls.api + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

const ready = (name: string) =>
  until(`${name} is ready`, async () => {
    const instance = await store.get('Instance', { namespace: NS, name });
    return instance !== undefined && isReady(instance) && instance.status?.lifecycle === 'Active';
  });

test('an order, a purchase from the wallet, and every operation of a day', async () => {
  await operator.says('this process leads');
  await installation.loadCatalog();
  const watch = new Stopwatch(() => {});
  const posted = await postOrder(await installation.shop.order(installation.folder), urls.api, watch);
  const [first] = await awaitCredits(posted, installation.shop.url, store, ledger, watch);
  await awaitReady(first === undefined ? [] : [first], store, watch);
  const admin = { members: [{ name: 'buyer', email: BUYER }], grants: [{ name: 'admin', role: 'Admin' as const }] };
  await store.apply('Team', { metadata: { namespace: NS, name: 'buyers' }, spec: admin }, { fieldManager: 'test' });
  const crm = {
    name: 'crm',
    offering: 'crm-followup',
    plan: 'basic',
    project: 'default',
    wallet: 'main',
    config: { region: 'eu' },
  };
  await until('the edge knows the new Team', async () => {
    const headers = {
      authorization: `Bearer ${await installation.issuer.mint(BUYER)}`,
      'content-type': 'application/json',
    };
    const { status } = await fetch(`${urls.api}/api/orgs/acme/instances`, {
      method: 'POST',
      headers,
      body: JSON.stringify(crm),
    });
    return status === 201 || status === 409;
  });
  await until('crm waits for the secret of its buyer', async () => {
    const instance = await store.get('Instance', { namespace: NS, name: 'crm' });
    return instance?.status?.conditions?.some(({ reason }) => reason === 'BuyerSecretMissing') ?? false;
  });
  await call('PUT', '/api/orgs/acme/instances/crm/secrets/crm-token', { value: 'canary-of-the-crm-token' });
  await ready('crm');
  await call('POST', '/api/orgs/acme/instances/crm/pause');
  await until(
    'crm is paused',
    async () => (await store.get('Instance', { namespace: NS, name: 'crm' }))?.status?.lifecycle === 'Paused',
  );
  await call('POST', '/api/orgs/acme/instances/crm/resume');
  await ready('crm');
  await kubectl('annotate', 'gsvi', 'crm', '-n', NS, 'store.gsv.dev/rotate-requested-at=2026-01-01T00:00:00Z');
  await until('the rotation is echoed', async () => {
    const instance = await store.get('Instance', { namespace: NS, name: 'crm' });
    return instance?.status?.rotation?.requestedAt === '2026-01-01T00:00:00Z' && isReady(instance);
  });
  await store.apply(
    'ApiKey',
    {
      metadata: { namespace: NS, name: 'nightly' },
      spec: {
        hash: `sha256:${'2c'.repeat(32)}`,
        display: { title: 'Nightly' },
        instances: ['crm'],
        expiresTime: '2037-01-01T00:00:00Z',
        owner: `${installation.issuer.url}|nightly`,
      },
    },
    { fieldManager: 'test' },
  );
  await store.apply(
    'Organization',
    { metadata: { name: 'initech' }, spec: { display: { title: 'Initech' } } },
    { fieldManager: 'test' },
  );
});

test('kubectl waits for and reads every kind as people do', async () => {
  for (const kind of OWN_KINDS) {
    const { plural } = KINDS[kind];
    await kubectl('wait', '--for=condition=Ready', `${plural}.store.gsv.dev`, '--all', '-A', '--timeout=60s');
    const path =
      '{range .items[*]}{.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}';
    const lines = (await kubectl('get', `${plural}.store.gsv.dev`, '-A', '-o', `jsonpath=${path}`)).trim().split('\n');
    for (const line of lines) {
      const [generation, observed, value] = line.split(' ');
      assert.ok(generation === observed && value === 'True', `${kind}: ${line}`);
    }
  }
});

test('an operator that is started again writes nothing but the Lease', async (t) => {
  await rest();
  const commits = await commitsOf(installation.repository);
  assert.is(await operator.stop(), 0);
  collect();
  vault.calls.length = 0;
  book.calls.length = 0;
  operator = installation.startOperator(environment);
  await operator.says('this process leads');
  const own = (await rest()).filter(({ user }) => user === OPERATOR);
  assert.ok(
    own.some(({ verb }) => verb === 'list'),
    'it has looked',
  );
  const writes = own.filter(({ verb, resource }) => !['get', 'list', 'watch'].includes(verb) && resource !== 'leases');
  assert.equal(
    writes.map(({ verb, resource, name }) => `${verb} ${resource} ${name}`),
    [],
  );
  const after = await commitsOf(installation.repository);
  assert.equal(after.content, commits.content);
  for (const [name, { calls }] of Object.entries({ Vault: vault, ledger: book }))
    t.diagnostic(`${name}: ${tally(calls)}`);
  // By asking for a fulfilment that cannot be, a new leader announces its epoch.
  const created = book.calls.filter(
    ({ method, path }) => method === 'POST' && !/\/inbox\/|\/fulfilment_0\//.test(path),
  );
  assert.equal(
    created.map(({ method, path }) => `${method} ${path}`),
    [],
  );
  const values = vault.calls.filter(
    ({ method, path }) => !['GET', 'LIST'].includes(method) && /\/data\/|\/destroy|\/delete/.test(path),
  );
  assert.equal(
    values.map(({ method, path }) => `${method} ${path}`),
    [],
  );
});

test('Instances, Projects, Wallets, Teams and Organizations go, by the edge and by kubectl', async () => {
  await call('DELETE', '/api/orgs/acme/instances/crm');
  await until('crm is gone', async () => (await store.get('Instance', { namespace: NS, name: 'crm' })) === undefined);
  await kubectl('delete', 'gsvi,gsvk,gsvt', '--all', '-n', NS, '--timeout=60s');
  await kubectl('delete', 'gsvp', '--all', '-n', NS, '--timeout=60s');
  await kubectl('delete', 'gsvg', 'initech', '--timeout=60s');
  await rest();
});

test('told to stop, every process ends with 0, and its watches show in the log', async () => {
  assert.is(await operator.stop(), 0);
  for (const each of Object.values(installation.processes).reverse()) assert.is(await each.stop(), 0);
  await delay(1_000);
  collect();
});

test('every status that was ever written conforms to the rules and to kstatus', (t) => {
  const last = new Map<string, NonNullable<Request['object']>>();
  const found: string[] = [];
  const kinds = new Set<string>();
  let written = 0;
  for (const { user, verb, group, resource, code, object } of everything) {
    if (group !== 'store.gsv.dev' || object?.metadata.uid === undefined || code >= 300) continue;
    const before = last.get(object.metadata.uid);
    last.set(object.metadata.uid, object);
    if (!resource.endsWith('/status') || user !== OPERATOR) continue;
    written += 1;
    kinds.add(object.kind);
    const broken = writeViolations(object.kind as 'Instance', object, before, ['canary-of-the-crm-token']);
    found.push(...broken.map((each) => `${verb} ${object.kind} ${object.metadata.name}: ${each}`));
  }
  t.diagnostic(`${written} writes of status of ${kinds.size} kinds`);
  assert.equal(found, []);
  assert.equal([...kinds].sort(), [...OWN_KINDS].sort());
});

test('nobody was refused, and nothing is granted that nobody used', (t) => {
  const grants = shippedGrants();
  t.diagnostic(`${everything.length} requests, ${grants.length} grants`);
  assert.equal(refused(everything), []);
  assert.equal(unusedGrants(grants, everything), Object.keys(RARE).sort());
});

test('the control: who lacks a right stands in the audit log as refused', async () => {
  audit.mark();
  const operator = 'system:serviceaccount:gsv-system:gsv-operator';
  const denied = await kubectl('get', 'nodes', '--as', operator).catch((error: Error) => error.message);
  assert.match(denied, 'is forbidden');
  assert.ok(
    audit.requests().some(({ resource, forbidden, code }) => resource === 'nodes' && forbidden && code === 403),
  );
});

/** Commits with something in them, and those that only mark an epoch. */
async function commitsOf(repository: string): Promise<{ content: number; markers: number }> {
  const { stdout } = await promisify(execFile)('git', ['-C', repository, 'log', '--format=%T', 'main']);
  const trees = stdout.trim().split('\n');
  const content = trees.filter((tree, at) => tree !== trees[at + 1]).length;
  return { content, markers: trees.length - content };
}

function tally(calls: readonly { method: string; path: string }[]): string {
  const counts = new Map<string, number>();
  for (const { method, path } of calls) {
    const short = `${method} ${path.replace(/\?.*/, '').replace(/[0-9a-f]{8}-[0-9a-f-]{27}|gsv-w-[\w-]+/g, '*')}`;
    counts.set(short, (counts.get(short) ?? 0) + 1);
  }
  return [...counts].map(([call, times]) => `${times} ${call}`).join(', ') || 'no call';
}
