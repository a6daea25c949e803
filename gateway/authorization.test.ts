/** Every route of the edge by every kind of caller. A route that is missing here fails. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type EdgeWorld, PEOPLE, startEdgeWorld } from '../hack/testing/edge.ts';
import type { EdgePlugin, Gateway } from './app.ts';

const CALLERS = ['none', ...PEOPLE, 'key', 'expired', 'wrong-audience', 'forged-key'] as const;
type Kind = (typeof CALLERS)[number];

interface Row {
  body?: unknown;
  /** What those get who may: a status, or the code of a refusal that comes after authorization. */
  success: number | string;
  may: readonly Kind[];
  /** Members who may not: `forbidden`. */
  mayNot: readonly Kind[];
  /** What everybody else gets: the same as for what does not exist. */
  foreign: string;
  /** Whether API keys are let in at all. */
  keys?: boolean;
}

const READERS = ['viewer', 'operator', 'admin'] as const;
const MEMBERS_WITHOUT_READ = ['billing'] as const;

/** `:name` parts are filled so that what the path names exists, in acme. */
const PATHS: Record<string, string> = {
  ':org': 'acme',
  ':instance': 'claims',
  ':wallet': 'main',
  ':name': 'claims-agent',
  ':secret': 'crm-key',
  '*': 'mcp',
};

const one = (
  success: number | string,
  may: readonly Kind[],
  mayNot: readonly Kind[],
  more: Partial<Row> = {},
): Row => ({
  foreign: 'instance_not_found',
  success,
  may,
  mayNot,
  ...more,
});

const TABLE: Record<string, Row | 'public'> = {
  'GET /.well-known/oauth-protected-resource': 'public',
  'GET /.well-known/oauth-protected-resource/*': 'public',
  'GET /api/offerings': 'public',
  'GET /api/offerings/:name': 'public',
  'POST /v1/instances/:org/:instance/runs': one(200, ['operator', 'admin', 'key'], ['viewer', 'billing'], {
    keys: true,
    body: { input: 'answer' },
  }),
  'GET /v1/instances/:org/:instance/runs/:runId': one(200, [...READERS, 'key'], MEMBERS_WITHOUT_READ, { keys: true }),
  'DELETE /v1/instances/:org/:instance/runs/:runId': one(202, ['operator', 'admin', 'key'], ['viewer', 'billing'], {
    keys: true,
  }),
  'GET /api/orgs/:org/instances': one(200, [...READERS, 'key', 'narrow'], MEMBERS_WITHOUT_READ, {
    keys: true,
    foreign: 'organization_not_found',
  }),
  'GET /api/orgs/:org/instances/:instance': one(200, [...READERS, 'key'], MEMBERS_WITHOUT_READ, { keys: true }),
  'GET /api/orgs/:org/instances/:instance/timeline': one(200, [...READERS, 'key'], MEMBERS_WITHOUT_READ, {
    keys: true,
  }),
  'POST /api/orgs/:org/instances': one('instance_exists', ['admin'], ['viewer', 'operator', 'billing', 'narrow'], {
    foreign: 'organization_not_found',
    body: { name: 'claims', offering: 'claims-agent', plan: 'starter' },
  }),
  'PATCH /api/orgs/:org/instances/:instance': one(200, ['admin'], ['viewer', 'operator', 'billing'], {
    body: { config: { tone: 'plain' } },
  }),
  'DELETE /api/orgs/:org/instances/:instance': one('managed_by_git', ['admin'], ['viewer', 'operator', 'billing']),
  'POST /api/orgs/:org/instances/:instance/pause': one('managed_by_git', ['operator', 'admin'], ['viewer', 'billing']),
  'POST /api/orgs/:org/instances/:instance/resume': one(200, ['operator', 'admin'], ['viewer', 'billing']),
  'POST /api/orgs/:org/instances/:instance/rotate': one('managed_by_git', ['operator', 'admin'], ['viewer', 'billing']),
  'POST /api/orgs/:org/instances/:instance/upgrade': one(
    'managed_by_git',
    ['admin'],
    ['viewer', 'operator', 'billing'],
    {
      body: { channel: 'Stable' },
    },
  ),
  'GET /api/orgs/:org/instances/:instance/secrets': one(200, READERS, MEMBERS_WITHOUT_READ),
  'PUT /api/orgs/:org/instances/:instance/secrets/:secret': one(200, ['operator', 'admin'], ['viewer', 'billing'], {
    body: { value: 'a-real-secret-value' },
  }),
  'GET /api/orgs/:org/wallets/:wallet': one(200, [...READERS, 'billing'], ['narrow'], { foreign: 'wallet_not_found' }),
  'GET /api/orgs/:org/wallets/:wallet/entries': one(200, [...READERS, 'billing'], ['narrow'], {
    foreign: 'wallet_not_found',
  }),
  'GET /api/orgs/:org/receipts/:receipt': one(200, [...READERS, 'billing'], ['narrow'], {
    foreign: 'receipt_not_found',
  }),
};

let world: EdgeWorld;
let expired: string;
/** The same edge two minutes from now. */
let later: Gateway;
let wrongAudience: string;

before(async () => {
  world = await startEdgeWorld();
  await world.fund(100_000_000);
  expired = await world.issuer.mint('admin@example.com', { ttlSeconds: 60 });
  later = await world.another({ clock: () => Date.now() + 120_000 });
  wrongAudience = await world.issuer.mint('admin@example.com', { audience: 'another-service' });
  // Rows that would change the world aim at an Instance that Argo CD keeps: they stop at its refusal.
  await world.makeInstance('kept');
  await world.store.apply(
    'Instance',
    {
      metadata: {
        name: 'kept',
        namespace: 'gsv-org-acme',
        annotations: { 'argocd.argoproj.io/tracking-id': 'acme:store.gsv.dev/Instance:gsv-org-acme/kept' },
      },
      spec: (await kept()).spec,
    },
    { fieldManager: 'edge-world' },
  );
  const run = await world.call('POST', '/v1/instances/acme/claims/runs', { body: { input: 'answer' } });
  PATHS[':runId'] = run.body.runId;
  PATHS[':receipt'] = run.body.receipt.id;
});
after(async () => {
  await later.close();
  await world.close();
});

async function kept() {
  const found = await world.store.get('Instance', { name: 'kept', namespace: 'gsv-org-acme' });
  if (!found) throw new Error('kept is gone');
  return found;
}

function fill(url: string, row: Row | 'public'): string {
  const keptByGit = row !== 'public' && row.success === 'managed_by_git';
  return url
    .split('/')
    .map((part) => (part === ':instance' && keptByGit ? 'kept' : (PATHS[part] ?? part)))
    .join('/');
}

function bearer(caller: Kind): string {
  if (caller === 'expired') return expired;
  if (caller === 'wrong-audience') return wrongAudience;
  if (caller === 'forged-key') return `gsvk_${'A'.repeat(43)}`;
  return caller;
}

/** Code, or the status of a success. */
function expected(row: Row | 'public', caller: Kind): string | number {
  if (row === 'public') return 200;
  if (caller === 'none') return 'token_missing';
  if (caller === 'expired') return 'token_expired';
  if (caller === 'wrong-audience') return 'token_wrong_audience';
  if (caller === 'forged-key') return 'token_invalid';
  if (caller === 'key' && !row.keys) return 'api_key_not_allowed';
  if (row.may.includes(caller)) return row.success;
  if (row.mayNot.includes(caller)) return 'forbidden';
  return row.foreign;
}

test('the table has every route and no other', () => {
  const served = world.gateway.routes.map((route) => `${route.method} ${route.url}`);
  assert.equal(served.sort(), Object.keys(TABLE).sort());
});

for (const [route, row] of Object.entries(TABLE))
  test(`${route}: each caller gets what it is entitled to`, async () => {
    const [method = '', url = ''] = route.split(' ');
    const got: Record<string, string | number> = {};
    const want: Record<string, string | number> = {};
    for (const caller of CALLERS) {
      const body = row === 'public' ? undefined : row.body;
      const reply = await world.call(method, fill(url, row), {
        as: bearer(caller),
        ...(caller === 'expired' ? { at: later.url } : {}),
        ...(body ? { body } : {}),
      });
      got[caller] = reply.status < 400 ? reply.status : (reply.body?.code ?? reply.status);
      want[caller] = expected(row, caller);
      assert.is(reply.headers.has('www-authenticate'), reply.status === 401, `${caller} ${reply.status}`);
      assert.not.match(reply.text, /a-real-secret-value/);
    }
    assert.equal(got, want);
    assert.is(await world.held(), 0);
  });

test('a foreign Organization, a foreign Instance and none at all answer alike', async () => {
  const texts = new Set<string>();
  for (const path of ['acme/claims', 'acme/nothing', 'nowhere/claims', 'nowhere/nothing']) {
    const reply = await world.call('POST', `/v1/instances/${path}/runs`, { as: 'stranger', body: { input: 'answer' } });
    assert.is(reply.status, 404);
    texts.add(reply.text.replace(reply.body.request_id, ''));
  }
  assert.is(texts.size, 1);
});

test('a key opens only the Instances that it names', async () => {
  await world.makeInstance('unnamed');
  const reply = await world.call('POST', '/v1/instances/acme/unnamed/runs', { as: 'key', body: { input: 'answer' } });
  assert.is(reply.body.code, 'instance_not_found');
});

test('a suspended Organization can read but neither run nor change anything', async () => {
  const apply = (suspend: boolean) =>
    world.store.apply(
      'Organization',
      { metadata: { name: 'acme' }, spec: { display: { title: 'acme' }, ...(suspend ? { suspend } : {}) } },
      { fieldManager: 'edge-world' },
    );
  await apply(true);
  const run = await until(
    () => world.call('POST', '/v1/instances/acme/claims/runs', { body: { input: 'answer' } }),
    (reply) => reply.status !== 200,
  );
  assert.is(run.status, 403);
  assert.is(run.body.code, 'organization_suspended');
  assert.is((await world.call('GET', '/api/orgs/acme/instances/claims')).status, 200);
  const patch = await world.call('PATCH', '/api/orgs/acme/instances/claims', { as: 'admin', body: { suspend: true } });
  assert.is(patch.body.code, 'organization_suspended');
  await apply(false);
});

async function until<T>(action: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const value = await action();
    if (holds(value) || attempt > 200) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a role serves its half only, and plugins take part by the same rules', async () => {
  const plugin: EdgePlugin = {
    name: 'hello',
    roles: ['api'],
    register: (app) => void app.get('/hello', { config: { access: 'public' } }, async () => ({ hello: true })),
  };
  const api = await world.another({ role: 'api', plugins: [plugin] });
  const run = await world.another({ role: 'run', plugins: [plugin] });
  const urls = (routes: readonly { url: string }[]) => routes.map((route) => route.url);
  assert.ok(urls(api.routes).includes('/hello'));
  assert.not.ok(urls(api.routes).some((url) => url.startsWith('/v1/')));
  assert.not.ok(urls(run.routes).some((url) => url.startsWith('/api/') || url === '/hello'));
  assert.ok(urls(run.routes).some((url) => url.startsWith('/v1/')));
  await Promise.all([api.close(), run.close()]);
  const careless: EdgePlugin = { ...plugin, register: (app) => void app.get('/open', async () => ({})) };
  const error = await world.another({ plugins: [careless] }).catch((reason: unknown) => reason);
  assert.match(String(error), /does not declare its access/);
});

test('the metadata of the resource names the issuer, and the challenge leads to it', async () => {
  const refused = await world.call('GET', '/api/orgs/acme/instances', { as: 'none' });
  const url = /resource_metadata="([^"]+)"/.exec(refused.headers.get('www-authenticate') ?? '')?.[1] ?? '';
  const document = (await (await fetch(url)).json()) as Record<string, unknown>;
  assert.is(document.resource, world.gateway.url);
  assert.equal(document.authorization_servers, [world.issuer.url]);
  const mcp = await world.call('GET', '/.well-known/oauth-protected-resource/mcp');
  assert.is(mcp.body.resource, `${world.gateway.url}/mcp`);
});

test('the OpenAPI document has every route with its security', async () => {
  const { body } = await world.call('GET', '/openapi.json', { as: 'none' });
  const run = body.paths['/v1/instances/{org}/{instance}/runs'].post;
  assert.equal(run.security, [{ bearer: [] }]);
  assert.equal(body.paths['/api/offerings'].get.security, []);
});
