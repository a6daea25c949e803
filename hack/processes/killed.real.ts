/**
 * An operator that is killed with SIGKILL in the middle of what it does to the API server, Vault, the ledger and
 * Git: before the effect, and after it but before anybody told it so. Another one goes on; the end is that of an
 * Instance for which nobody was killed.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { openBlobStore } from '../../config/artifacts.ts';
import { isReady } from '../../crds/conditions.ts';
import type { Instance } from '../../crds/kinds.ts';
import { testCluster } from '../cluster/testing.ts';
import { awaitCredits, postOrder } from '../quickstart/order.ts';
import { Stopwatch } from '../quickstart/phases.ts';
import type { OurProcess } from '../testing/process.ts';
import { type Moment, type RecordingProxy, startRecordingProxy } from '../testing/recording-proxy.ts';
import { startInstallation } from './installation.ts';
import { kubectl } from './kubectl.ts';
import { publishNext } from './versions.ts';

const NS = 'gsv-org-acme';
/** The Lease of a killed one has to run out first. Milliseconds. */
const PATIENCE_MS = 120_000;
const ROTATE = 'store.gsv.dev/rotate-requested-at';
/** A version that works, and one that no runtime takes. */
const NEXT = '1.1.0';
const BROKEN = '1.2.0';
/** So long ago that a new version has had its time. */
const LONG_AGO = '2026-01-01T00:00:00Z';

const cluster = await testCluster();
const installation = await startInstallation(cluster);
after(() => installation.close());
const { store, ledger, folder, repository } = installation;
const api = await startRecordingProxy(cluster.url, await readFile(cluster.caFile));
const vault = await startRecordingProxy(installation.vault.url);
const book = await startRecordingProxy(installation.urls.ledger);
after(() => Promise.all([api.close(), vault.close(), book.close()]));
const PROXIES = { api, vault, ledger: book };

const kubeconfig = join(folder, 'operator-through-proxy.kubeconfig');
const token = await kubectl(cluster.kubeconfig, 'create', 'token', 'gsv-operator', '-n', 'gsv-system', '--duration=2h');
// client-node takes an address without TLS only from those who also say this; a kubeconfig may be JSON.
const plainly = { server: api.url, 'insecure-skip-tls-verify': true };
await writeFile(
  kubeconfig,
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'gsv', cluster: plainly }],
    users: [{ name: 'gsv', user: { token: token.trim() } }],
    contexts: [{ name: 'gsv', context: { cluster: 'gsv', user: 'gsv' } }],
    'current-context': 'gsv',
  }),
  { mode: 0o600 },
);

let operator = begin();
await operator.says('operator runs');
// The first leader may wait for a Lease; the catalog needs one that leads.
await until('an operator leads', () => book.calls.some(({ path }) => path.includes('/v1/fulfilments/')));
await installation.loadCatalog();
const blobs = openBlobStore(pathToFileURL(join(folder, 'artifacts')).href);
await publishNext(store, blobs, NEXT, 'works');
await publishNext(store, blobs, BROKEN, 'refused');

function begin(): OurProcess {
  return installation.startOperator({
    KUBECONFIG: kubeconfig,
    GSV_VAULT_ADDR: vault.url,
    GSV_LEDGER_URL: book.url,
    GSV_DATA_DIR: join(folder, 'operator-killed'),
  });
}

/** Where it dies: a call through a proxy, or a push. */
interface Point {
  door: keyof typeof PROXIES | 'git';
  moment: Moment;
  /** Of a proxied call: `METHOD path`. */
  call?: RegExp;
}

interface Life {
  name: string;
  points: Point[];
  act: () => Promise<unknown>;
  done: () => Promise<boolean>;
}

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`still not so: ${what}; ${operator?.text().slice(-1500)}`);
    await delay(100);
  }
}

/** Kills the present operator at the point, once. Resolves when that has happened. */
async function arm({ door, moment, call }: Point): Promise<() => Promise<void>> {
  const victim = operator;
  if (door === 'git') await armHook(moment, victim);
  else interfere(PROXIES[door], moment, call ?? /./, victim);
  return async () => {
    const how = await Promise.race([victim.ended, delay(PATIENCE_MS, 'it was not killed')]);
    PROXIES.api.interfere = PROXIES.vault.interfere = PROXIES.ledger.interfere = () => false;
    assert.is(how, 'SIGKILL');
  };
}

function interfere(proxy: RecordingProxy, moment: Moment, call: RegExp, victim: OurProcess): void {
  let fired = false;
  proxy.interfere = ({ method, path }, at) => {
    if (fired || at !== moment || method === 'GET' || !call.test(`${method} ${path}`)) return false;
    fired = true;
    return victim.child.kill('SIGKILL');
  };
}

/** Hooks of the remote: before it takes the push, and when it has taken it. */
async function armHook(moment: Moment, victim: OurProcess): Promise<void> {
  const hook = join(repository, 'hooks', moment === 'before' ? 'pre-receive' : 'post-receive');
  const verdict = moment === 'before' ? 1 : 0;
  await writeFile(hook, `#!/bin/sh\nrm -f "${hook}"\nkill -9 ${victim.child.pid}\nsleep 0.2\nexit ${verdict}\n`);
  await chmod(hook, 0o755);
}

const key = (name: string) => ({ namespace: NS, name });
const instanceOf = (name: string) => store.get('Instance', key(name));
const settled = (check: (instance: Instance) => boolean) => async () => {
  const instance = await instanceOf('victim');
  return instance !== undefined && isReady(instance) && check(instance);
};

const SPEC: Instance['spec'] = {
  projectRef: { name: 'default' },
  offeringRef: { name: 'crm-followup' },
  plan: 'basic',
  walletRef: { name: 'main' },
  config: { region: 'eu' },
};
const apply = (name: string, spec: Instance['spec'], annotations: Record<string, string> = {}) =>
  store.apply('Instance', { metadata: { ...key(name), annotations }, spec }, { fieldManager: 'test' });

async function setBuyerSecret(name: string): Promise<void> {
  await until(`${name} waits for its secret`, async () => {
    const { status } = (await instanceOf(name)) ?? {};
    return status?.conditions?.some(({ reason }) => reason === 'BuyerSecretMissing') ?? false;
  });
  const instance = await instanceOf(name);
  const path = `t/${instance?.status?.workloadNamespace}/${instance?.metadata.uid}/crm-token`;
  const answer = await fetch(`${installation.vault.url}/v1/secret/data/${path}`, {
    method: 'POST',
    headers: { 'x-vault-token': installation.vault.token, 'content-type': 'application/json' },
    body: JSON.stringify({ data: { value: 'canary-of-crm' } }),
  });
  assert.ok(answer.ok, await answer.text());
}

/** The same for one for whom nobody dies, and for the victim. */
const DAY: [rotated: Record<string, string>, Instance['spec']] = [
  { [ROTATE]: '2026-01-01T00:00:00Z' },
  { ...SPEC, version: NEXT },
];
const STATUS = /^PATCH .*\/instances\/victim\/status/;

const LIVES: Life[] = [
  {
    name: 'create',
    points: [
      { door: 'api', moment: 'before', call: /^PATCH .*\/instances\/victim\?/ },
      { door: 'api', moment: 'after', call: /^PATCH .*\/instances\/victim\?/ },
      { door: 'vault', moment: 'after', call: /^(POST|PUT) \/v1\/sys\/policies\/acl\/gsv-i-/ },
      { door: 'vault', moment: 'before', call: /^(POST|PUT) \/v1\/secret\/data\// },
      { door: 'vault', moment: 'after', call: /^(POST|PUT) \/v1\/secret\/data\// },
    ],
    act: () => apply('victim', SPEC),
    done: async () => {
      const { status } = (await instanceOf('victim')) ?? {};
      return status?.conditions?.some(({ reason }) => reason === 'BuyerSecretMissing') ?? false;
    },
  },
  {
    name: 'provision',
    points: [
      { door: 'git', moment: 'before' },
      { door: 'git', moment: 'after' },
      { door: 'api', moment: 'before', call: STATUS },
    ],
    act: () => setBuyerSecret('victim'),
    done: settled(() => true),
  },
  {
    name: 'rotate',
    points: [{ door: 'vault', moment: 'after', call: /^(POST|PUT) \/v1\/secret\/data\// }],
    act: () => apply('victim', SPEC, DAY[0]),
    done: settled(({ status }) => status?.rotation?.requestedAt === DAY[0][ROTATE]),
  },
  {
    name: 'suspend',
    points: [{ door: 'api', moment: 'after', call: STATUS }],
    act: () => apply('victim', { ...SPEC, suspend: true }, DAY[0]),
    done: async () => (await instanceOf('victim'))?.status?.lifecycle === 'Paused',
  },
  {
    name: 'resume',
    points: [{ door: 'api', moment: 'before', call: STATUS }],
    act: () => apply('victim', SPEC, DAY[0]),
    done: settled(({ status }) => status?.lifecycle === 'Active'),
  },
  {
    name: 'upgrade',
    points: [
      { door: 'api', moment: 'after', call: STATUS },
      { door: 'git', moment: 'before' },
      { door: 'git', moment: 'after' },
      { door: 'api', moment: 'before', call: STATUS },
    ],
    act: () => apply('victim', DAY[1], DAY[0]),
    done: settled(({ status }) => status?.version === NEXT && status.upgrade === undefined),
  },
];

test('a paid order, its unit claimed by an operator that dies before and after the claim', async (t) => {
  const claim = /^POST \/v1\/fulfilments\/[^/]+\/claim/;
  const watch = new Stopwatch(() => {});
  const dead = await arm({ door: 'ledger', moment: 'before', call: claim });
  const posted = await postOrder(await installation.shop.order(folder), installation.urls.api, watch);
  await dead();
  operator = begin();
  const again = await arm({ door: 'ledger', moment: 'after', call: claim });
  await again();
  operator = begin();
  const [first] = await awaitCredits(posted, installation.shop.url, store, ledger, watch);
  await until('the order is an Instance that runs', async () => {
    const instance = await instanceOf(first?.name ?? '');
    return instance !== undefined && isReady(instance);
  });
  const units = await ledger.findFulfilments({ shop: installation.shop.url, order: posted.order.id });
  const uids = units.flatMap(({ instanceUid }) => (instanceUid === undefined ? [] : [instanceUid]));
  assert.is(new Set(uids).size, uids.length);
  t.diagnostic(`${units.length} units, 2 kills`);
});

test('one for whom nobody dies', async () => {
  await apply('calm', SPEC);
  await setBuyerSecret('calm');
  await until('calm runs', async () => isReady((await instanceOf('calm')) as Instance));
  await apply('calm', SPEC, DAY[0]);
  await until(
    'calm has rotated',
    async () =>
      (await instanceOf('calm'))?.status?.rotation?.requestedAt !== undefined &&
      isReady((await instanceOf('calm')) as Instance),
  );
  await apply('calm', DAY[1], DAY[0]);
  await until('calm runs the next version', async () => {
    const calm = (await instanceOf('calm')) as Instance;
    return calm.status?.version === NEXT && isReady(calm);
  });
});

for (const { name, points, act, done } of LIVES)
  test(`${name}: killed at ${points.map(({ door, moment }) => `${moment} ${door}`).join(', ')}`, async () => {
    let [first, ...others] = points;
    if (first === undefined) throw new Error('nobody dies');
    let dead = await arm(first);
    await act();
    for (;;) {
      await dead();
      operator = begin();
      [first, ...others] = others;
      if (first === undefined) break;
      dead = await arm(first);
    }
    await until(`${name} is done`, done);
  });

/** Five minutes pass, as far as anybody can tell. */
async function letTheProofRunOut(): Promise<void> {
  const { metadata, status } = (await instanceOf('victim')) as Instance;
  const { effective, upgrade } = status ?? {};
  if (effective === undefined || upgrade === undefined) throw new Error('it proves nothing');
  const since = { effective: { ...effective, sinceTime: LONG_AGO }, upgrade: { ...upgrade, startedTime: LONG_AGO } };
  const options = { fieldManager: 'gsv-operator', resourceVersion: metadata.resourceVersion };
  await store.applyStatus('Instance', key('victim'), { ...status, ...since }, options);
}

test('an upgrade that is taken back: killed before and after the status that says so, and around the push', async () => {
  await apply('victim', { ...SPEC, version: BROKEN }, DAY[0]);
  await until('the victim proves a version that the runtime refuses', async () => {
    const { status } = (await instanceOf('victim')) ?? {};
    const unready = status?.conditions?.some(({ type, reason }) => type === 'RuntimeReady' && reason === 'ProbeFailed');
    return status?.version === BROKEN && unready === true;
  });
  let dead = await arm({ door: 'api', moment: 'before', call: STATUS });
  await letTheProofRunOut();
  for (const point of [
    { door: 'api', moment: 'after', call: STATUS },
    { door: 'git', moment: 'before' },
    { door: 'git', moment: 'after' },
  ] as Point[]) {
    await dead();
    operator = begin();
    dead = await arm(point);
  }
  await dead();
  operator = begin();
  await until('the victim is back', async () => {
    const { status } = (await instanceOf('victim')) ?? {};
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    return status?.upgrade?.phase === 'RolledBack' && ready?.reason === 'UpgradeRolledBack';
  });
  assert.is((await instanceOf('victim'))?.status?.version, NEXT);
  await apply('victim', DAY[1], DAY[0]);
  await until(
    'it is content with what it has',
    settled(({ status }) => status?.upgrade === undefined),
  );
});

test('the end is the same, and nothing was done twice', async (t) => {
  const [victim, calm] = [await instanceOf('victim'), await instanceOf('calm')];
  const facts = (instance: Instance | undefined) => ({
    lifecycle: instance?.status?.lifecycle,
    finalizers: instance?.metadata.finalizers,
    secrets: instance?.status?.secretVersions,
    conditions: instance?.status?.conditions?.map(
      (each) => `${each.type} ${each.status} ${each.reason} ${each.message}`,
    ),
  });
  assert.equal(facts(victim), facts(calm));
  const git = async (...args: string[]) => (await promisify(execFile)('git', ['-C', repository, ...args])).stdout;
  const files = async (name: string) => {
    const paths = (await git('ls-tree', '-r', '--name-only', 'main'))
      .split('\n')
      .filter((path) => path.includes(`/instances/${name}-`));
    return Promise.all(paths.map(async (path) => `${path}\n${await git('show', `main:${path}`)}`));
  };
  const plain = (texts: string[]) =>
    texts.map((text) => text.replace(/victim|calm/g, 'NAME').replace(/"?[0-9a-f]{8}[0-9a-f-]*"?/g, '#'));
  assert.equal(plain(await files('victim')), plain(await files('calm')));
  const effects = (
    await git(
      'log',
      '--format=%(trailers:key=Gsv-Effect,valueonly)',
      `--grep=Gsv-Instance-Uid: ${victim?.metadata.uid}`,
      'main',
    )
  )
    .split('\n')
    .filter((each) => each !== '');
  const twice = effects.filter((effect, at) => effect === effects[at + 1]);
  assert.equal(twice, [], 'an effect was committed again right after itself');
  t.diagnostic(`${effects.length} commits for the victim`);
});

test('delete: killed around the push, the end of the secrets and the finalizer; nothing remains', async () => {
  const uid = (await instanceOf('victim'))?.metadata.uid;
  let dead = await arm({ door: 'git', moment: 'after' });
  await store.delete('Instance', key('victim'));
  for (const point of [
    { door: 'vault', moment: 'after', call: /^DELETE \/v1\/(secret\/metadata|sys\/policies)/ },
    { door: 'api', moment: 'before', call: /^PATCH .*\/instances\/victim\?/ },
  ] as Point[]) {
    await dead();
    operator = begin();
    dead = await arm(point);
  }
  await dead();
  operator = begin();
  await until('the victim is gone', async () => (await instanceOf('victim')) === undefined);
  const grep = await promisify(execFile)('git', ['-C', repository, 'grep', '-l', String(uid), 'main']).catch(() => ({
    stdout: '',
  }));
  assert.is(grep.stdout, '');
  const list = await fetch(`${installation.vault.url}/v1/sys/policies/acl/gsv-i-${uid}`, {
    headers: { 'x-vault-token': installation.vault.token },
  });
  assert.is(list.status, 404);
  assert.ok((await ledger.audit()).ok);
  assert.not.ok(existsSync(join(repository, 'hooks', 'post-receive')), 'the hook has fired');
});
