/**
 * Every money route against every way in which a key can come again: one effect, one answer, and a conflict is named.
 * The routes are those that the document of the API says take a key, and the operations that a batch takes.
 */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { Secret } from '../config/settings.ts';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import { MONEY_ROUTES, type MoneyRow } from '../hack/testing/money-routes.ts';
import { createLedger, type Ledger } from './main.ts';
import { singleToken, type Tokens } from './tokens.ts';

/** Callers of one key at once. */
const CALLERS = 8;
/** Why the suite itself voids what is left of a wallet. */
const CLEANING = 'the end';
const READER = 'a-token-that-may-only-read';

let ledger: TestLedger;
/** Another process of the ledger, on the same database. */
let replica: Ledger;

async function startReplica(): Promise<Ledger> {
  const log = createLogger({ part: 'test', level: 'fatal' });
  const all = singleToken(Secret.of(ALL_SCOPES_TOKEN), log);
  const tokens: Tokens = {
    authenticate: (header) => (header === `Bearer ${READER}` ? new Set(['read']) : all.authenticate(header)),
  };
  return await createLedger({ port: 0, databaseUrl: ledger.database.url, dataDir: '', tokens, log, now: ledger.now });
}

before(async () => {
  ledger = await startTestLedger();
  replica = await startReplica();
});
after(async () => {
  await replica.close();
  await ledger.close();
});

interface Answer {
  status: number;
  body: Record<string, unknown>;
  /** A batch does not say. */
  replayed: boolean | undefined;
}

interface Prepared {
  row: MoneyRow;
  wallet: string;
  call: Awaited<ReturnType<MoneyRow['prepare']>>;
}

let made = 0;
async function prepare(row: MoneyRow): Promise<Prepared> {
  made += 1;
  const wallet = `org${made}.main`;
  await ledger.client.putWallet(wallet, { ownerUid: `owner-${made}` });
  await ledger.client.grant(wallet, { amount: 1_000, kind: 'purchased' }, 'fund');
  return { row, wallet, call: await row.prepare(ledger, wallet) };
}

async function send(
  { call }: Prepared,
  key: string,
  { url = ledger.url, other = false, token = ALL_SCOPES_TOKEN } = {},
): Promise<Answer> {
  const { path = call.path, body } = (other ? call.other : undefined) ?? call;
  const batch = path === '/v1/batch';
  const response = await fetch(url + path, {
    method: 'POST',
    headers: {
      ...{ authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(batch ? {} : { 'idempotency-key': key }),
    },
    body: JSON.stringify(batch ? { operations: [{ ...body, key }] } : body),
  });
  const reply = (await response.json()) as Record<string, unknown>;
  if (!batch || response.status !== 200) {
    return { status: response.status, body: reply, replayed: response.headers.get('idempotency-replayed') === 'true' };
  }
  const [result] = reply.results as { status: number; body: Record<string, unknown> }[];
  return { status: result?.status ?? 0, body: result?.body ?? {}, replayed: undefined };
}

/** The same answer, said to be a repetition where that can be said. */
function assertRepeats(again: Answer, first: Answer): void {
  assert.ok(first.status === 200 || first.status === 201, JSON.stringify(first.body));
  assert.equal([again.status, again.body], [first.status, first.body]);
  assert.is.not(again.replayed, false);
  assert.is.not(first.replayed, true);
}

async function assertOneEffect({ row, wallet }: Prepared): Promise<void> {
  const rows = await ledger.database.admin<{ operation: string; times: number }[]>`
    select t.operation, count(*)::int as times from gsv_ledger.transactions t
      join gsv_ledger.wallets w on w.id = t.wallet_id where w.name = ${wallet} and t.reason is distinct from ${CLEANING} group by t.operation`;
  const times = new Map(rows.map((each) => [each.operation, each.times]));
  for (const [operation, expected] of Object.entries(row.books)) assert.is(times.get(operation), expected, operation);
}

/** Nothing of the wallet is left to work on. */
async function end({ wallet }: Prepared): Promise<void> {
  const holds = await ledger.database.admin<{ hold: string }[]>`
    select 'hold_' || h.id as hold from gsv_ledger.holds h join gsv_ledger.wallets w on w.id = h.wallet_id
      where w.name = ${wallet} and h.state = 'open'`;
  for (const { hold } of holds) await ledger.client.voidHold(hold, { reason: CLEANING }, `end ${hold}`);
  await ledger.request('POST', `/v1/wallets/${wallet}/close`, { key: 'the end', body: { forfeit: true } });
}

const WAYS: Record<string, (prepared: Prepared) => Promise<void>> = {
  'one after the other': async (prepared) => {
    const before = await first(prepared);
    assertRepeats(await send(prepared, 'k'), before);
  },
  'all at once, at two replicas': async (prepared) => {
    const answers = await Promise.all(
      Array.from({ length: CALLERS }, (_, n) => send(prepared, 'k', n % 2 === 0 ? {} : { url: replica.url })),
    );
    const [one] = answers;
    for (const { status, body } of answers) assert.equal([status, body], [one?.status, one?.body]);
    assert.ok(one?.status === 200 || one?.status === 201, JSON.stringify(one?.body));
    if (one.replayed !== undefined) assert.is(answers.filter(({ replayed }) => !replayed).length, 1);
  },
  'after a restart': async (prepared) => {
    const before = await first(prepared, { url: replica.url });
    await replica.close();
    replica = await startReplica();
    assertRepeats(await send(prepared, 'k', { url: replica.url }), before);
  },
  'at another replica': async (prepared) => {
    const before = await first(prepared);
    assertRepeats(await send(prepared, 'k', { url: replica.url }), before);
  },
  'with another payload': async (prepared) => {
    assert.ok(prepared.call.other, 'another payload');
    const before = await first(prepared);
    for (const url of [ledger.url, replica.url]) {
      const { status, body } = await send(prepared, 'k', { other: true, url });
      assert.equal([status, body.code], [422, 'idempotency_conflict']);
    }
    assertRepeats(await send(prepared, 'k'), before);
  },
  'after the wallet was closed': async (prepared) => {
    const before = await first(prepared);
    await end(prepared);
    assertRepeats(await send(prepared, 'k'), before);
    const { status, body } = await send(prepared, 'another');
    const { ended } = prepared.row;
    assert.equal(typeof ended === 'number' ? status : body.code, ended, JSON.stringify(body));
  },
  'by another owner, who means his own': async (prepared) => {
    const before = await first(prepared);
    const others = await prepare(prepared.row);
    const theirs = await first(others);
    assert.is(theirs.status, before.status);
    await assertOneEffect(others);
    assertRepeats(await send(others, 'k'), theirs);
    assertRepeats(await send(prepared, 'k'), before);
  },
  'by a caller without the scope, who is told nothing': async (prepared) => {
    await first(prepared);
    const { status, body } = await send(prepared, 'k', { url: replica.url, token: READER });
    assert.equal([status, body.code], [403, 'forbidden']);
  },
};

async function first(prepared: Prepared, options: { url?: string } = {}): Promise<Answer> {
  const answer = await send(prepared, 'k', options);
  assert.ok(answer.status === 200 || answer.status === 201, JSON.stringify(answer.body));
  assert.is.not(answer.replayed, true);
  return answer;
}

test('every route that takes a key has a row', async () => {
  const { body } = await ledger.request('GET', '/openapi.json');
  const paths = body.paths as Record<string, Record<string, { parameters?: { name: string }[] }>>;
  const keyed = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, { parameters = [] }]) => parameters.some(({ name }) => name === 'idempotency-key'))
      .map(([method]) => `${method.toUpperCase()} ${path}`),
  );
  const schema = body.paths['/v1/batch'].post.requestBody.content['application/json'].schema;
  const items = schema.properties.operations.items.properties.op.enum as string[];
  assert.ok(keyed.length > 8 && items.length > 5);
  assert.equal(
    MONEY_ROUTES.map(({ route }) => route).toSorted(),
    [...keyed, ...items.map((op) => `batch ${op}`)].toSorted(),
  );
});

for (const row of MONEY_ROUTES) {
  for (const [way, run] of Object.entries(WAYS)) {
    test(`${row.route}: a key that comes again ${way}`, async () => {
      const prepared = await prepare(row);
      await run(prepared);
      await assertOneEffect(prepared);
    });
  }
}

test('the book of all of this is in order', async () => {
  const { body } = await ledger.request('POST', '/v1/audit', { body: {} });
  assert.equal(body.problems, []);
  process.stdout.write(
    `${MONEY_ROUTES.length} money routes x ${Object.keys(WAYS).length} ways: one effect each; ${body.checkedEntries} entries\n`,
  );
});
