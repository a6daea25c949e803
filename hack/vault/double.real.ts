/**
 * The double of Vault's API is held to a real Vault: one table of requests goes to both, and whatever
 * our client reads of the answers must be equal, so that nothing depends on the double's leniency.
 */
import { createPublicKey, type webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { request } from 'undici';
import * as assert from 'uvu/assert';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { ServiceAccounts } from '../cluster/service-accounts.ts';
import { startVaultDouble } from './double.ts';
import { EXCHANGES, type Exchange } from './exchanges.ts';
import { issueToken, prepareLogins, prepareVault } from './prepare.ts';
import { testVault } from './testing.ts';

/** What `config/secrets/vault*.ts` reads of an answer, and what those members hold. */
const READ = ['data', 'auth', 'warnings', 'errors'];
const MEMBERS = new Set([
  ...['data', 'metadata', 'version', 'versions', 'current_version', 'created_time', 'updated_time', 'deletion_time'],
  ...[
    'destroyed',
    'cas_required',
    'value',
    'keys',
    'policy',
    'client_token',
    'policies',
    'lease_duration',
    'renewable',
  ],
  ...['ttl', 'bound_service_account_names', 'bound_service_account_namespaces', 'audience', 'token_policies'],
  ...['token_ttl', 'token_max_ttl', 'bound_service_account_namespace_selector'],
]);

/** Who has no rights because of who it is, not because of a policy. */
const LONELY = ['none', 'revoked'];

interface Side {
  url: string;
  rootToken: string;
  accessor: string;
  /** Sends the root token for every other. */
  everybodyIsRoot?: boolean;
}

const cluster = await startCluster({ controllers: false, log: (line) => void process.stderr.write(`# ${line}\n`) });
const jwts = await serviceAccountTokens();
const now = Date.now();
const double = await startVaultDouble({ serviceAccounts: await signingKey(cluster), now: () => now });
const vault = await testVault({ cluster });
after(async () => {
  await double.close();
  await vault.close();
  await cluster.close();
});
const answers = await Promise.all([replay(vault), replay(double)]);

for (const [index, { as, method, path, reason }] of EXCHANGES.entries())
  test(`${as} ${method} ${path}: ${reason}`, () => {
    const [real, doubled] = answers.map((each) => each[index]);
    assert.equal(doubled, real);
  });

test('the table has answers of every kind, and sees a double that asks nobody for rights', async (t) => {
  const statuses = new Set(answers[0]?.map(({ status }) => status));
  for (const status of [200, 204, 400, 403, 404]) assert.ok(statuses.has(status), `${status}`);
  const lenient = await startVaultDouble({ serviceAccounts: await signingKey(cluster), now: () => now });
  t.after(() => lenient.close());
  const given = await replay({ ...lenient, everybodyIsRoot: true });
  const seen = EXCHANGES.filter((_, index) => JSON.stringify(given[index]) !== JSON.stringify(answers[0]?.[index]));
  const refused = EXCHANGES.filter(({ as }, index) => !LONELY.includes(as) && answers[0]?.[index]?.status === 403);
  assert.ok(refused.length > 30);
  for (const exchange of refused) assert.ok(seen.includes(exchange), exchange.reason);
});

interface Seen {
  status: number;
  body: unknown;
}

async function replay({ url, rootToken, accessor, everybodyIsRoot = false }: Side): Promise<Seen[]> {
  const root = { url, token: rootToken, mount: 'secret' };
  await prepareVault(root);
  await prepareLogins(root, accessor);
  const tokens: Record<string, string> = { root: rootToken, unknown: 'hvs.nobody-made-this' };
  for (const name of ['operator', 'runner']) tokens[name] = await issueToken(root, [`gsv-${name}`], '10m');
  const seen: Seen[] = [];
  for (const exchange of EXCHANGES) {
    const token = everybodyIsRoot && !LONELY.includes(exchange.as) ? rootToken : tokens[exchange.as];
    const { status, body } = await send(url, token, exchange);
    if (exchange.keep !== undefined)
      tokens[exchange.keep] = String((body as { auth?: { client_token?: string } }).auth?.client_token);
    seen.push({ status, body: readable(body) });
  }
  return seen;
}

async function send(url: string, token: string | undefined, { method, path, body }: Exchange): Promise<Seen> {
  const text = JSON.stringify(body)?.replace(/\{([a-z]+-jwt)\}/, (_, name: string) => jwts[name] ?? '');
  const list = method === 'LIST';
  const response = await request(`${url}/v1/${path}${list ? '?list=true' : ''}`, {
    method: list ? 'GET' : method,
    headers: { 'x-vault-request': 'true', ...(token === undefined ? {} : { 'x-vault-token': token }) },
    ...(text === undefined ? {} : { body: text }),
  });
  const answer = await response.body.text();
  return { status: response.statusCode, body: answer === '' ? {} : JSON.parse(answer) };
}

function readable(body: unknown): unknown {
  const read = Object.entries(body as object).filter(([key, value]) => READ.includes(key) && value !== null);
  return Object.fromEntries(read.map(([key, value]) => [key, formed(value)]));
}

/** What differs by nature (times, tokens, seconds that have passed) is compared by its form. */
function formed(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((each) => formed(each, name));
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([key]) => MEMBERS.has(key) || /^\d+$/.test(key));
    return Object.fromEntries(members.map(([key, each]) => [key, formed(each, key)] as const).sort());
  }
  if (name === 'ttl' && Number(value) > 0) return 'seconds';
  if (typeof value !== 'string') return value;
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return 'time';
  if (name === 'client_token') return 'token';
  // What a parser of policies says, after where.
  return value.replace(/At \d+:\d+: .*/, 'At …');
}

async function serviceAccountTokens(): Promise<Record<string, string>> {
  const accounts = new ServiceAccounts(cluster);
  const name = 'project-secrets';
  try {
    for (const namespace of ['gsv-w-a', 'gsv-w-ab']) await accounts.create(namespace, name);
    return {
      'tenant-jwt': await accounts.token({ namespace: 'gsv-w-a', name, audience: 'vault' }),
      'neighbour-jwt': await accounts.token({ namespace: 'gsv-w-ab', name, audience: 'vault' }),
      'api-jwt': await accounts.token({ namespace: 'gsv-w-a', name }),
    };
  } finally {
    await accounts.close();
  }
}

/** The double decides by the signature of what the API server decides by review. */
async function signingKey({ folder }: Cluster): Promise<webcrypto.CryptoKey> {
  const pem = await readFile(join(folder, 'service-accounts.key'));
  const key = createPublicKey(pem).export({ type: 'spki', format: 'der' });
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  return crypto.subtle.importKey('spki', new Uint8Array(key), algorithm, false, ['verify']);
}
