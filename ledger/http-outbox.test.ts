/** The outbox of whole ledgers: off by default, sending by itself, from several at once and across a restart. */
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { Secret } from '../config/settings.ts';
import { freePort } from '../hack/cluster/starting.ts';
import { type FakeOpenMeter, startOpenMeter } from '../hack/openmeter/server.ts';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import { createLedger, type Ledger } from './main.ts';
import { singleToken } from './tokens.ts';

const log = createLogger({ part: 'test', level: 'fatal' });

async function until(done: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await done())) await delay(20);
}

/** Another replica on the same database. */
function replica(ledger: TestLedger, openmeter: FakeOpenMeter): Promise<Ledger> {
  return createLedger({
    port: 0,
    databaseUrl: ledger.database.url,
    dataDir: '',
    tokens: singleToken(Secret.of(ALL_SCOPES_TOKEN), log),
    openmeter: { url: openmeter.url },
    log,
    now: ledger.now,
  });
}

async function charge(ledger: TestLedger, key: string): Promise<void> {
  const body = { wallet: 'acme.main', lines: [{ dimension: 'run', units: 1, amount: 1 }] };
  assert.is((await ledger.request('POST', '/v1/debits', { key, body })).status, 201);
}

async function fund(ledger: TestLedger): Promise<void> {
  await ledger.client.putWallet('acme.main', { ownerUid: 'uid-1' });
  await ledger.client.grant('acme.main', { amount: 1_000, kind: 'manual' }, 'grant-1');
}

test('without GSV_OPENMETER_URL nothing is sent, and the log and the API say so', async () => {
  const ledger = await startTestLedger({ opsPort: 0 });
  try {
    assert.ok(
      ledger.logs.some((line) => line.includes('usage is not sent to OpenMeter: GSV_OPENMETER_URL is not set')),
    );
    const { body } = await ledger.request('GET', '/v1/outbox');
    assert.equal([body.enabled, body.position, body.lag], [false, 0, 0]);
  } finally {
    await ledger.close();
  }
});

test('what is charged over HTTP arrives by itself, once, from three replicas that come and go', async () => {
  const openmeter = await startOpenMeter();
  const ledger = await startTestLedger({ openmeter: { url: openmeter.url } });
  const second = await replica(ledger, openmeter);
  try {
    await fund(ledger);
    for (let i = 0; i < 5; i += 1) await charge(ledger, `first-${i}`);
    await until(() => openmeter.events.length === 5);

    // The one that holds the lease is among those that stop; the rest goes on where it stood.
    await second.close();
    const third = await replica(ledger, openmeter);
    for (let i = 0; i < 5; i += 1) await charge(ledger, `second-${i}`);
    await until(() => openmeter.events.length === 10);
    await third.close();
    await until(async () => (await ledger.request('GET', '/v1/outbox')).body.lag === 0);
    const { body } = await ledger.request('GET', '/v1/outbox');
    assert.equal([body.enabled, body.position, body.parked], [true, 10, 0]);
    assert.is(new Set(openmeter.events.map(({ id }) => id)).size, 10);
    assert.equal(new Set(openmeter.events.map(({ source }) => source)).size, 1);
  } finally {
    await ledger.close();
    await openmeter.close();
  }
});

test('an outage delays, and the figures and the API name it', async () => {
  const openmeter = await startOpenMeter();
  const ledger = await startTestLedger({ openmeter: { url: openmeter.url }, opsPort: await freePort() });
  try {
    openmeter.failures.push({ status: 503, headers: { 'retry-after': '600' } });
    await fund(ledger);
    await charge(ledger, 'one');
    await until(() => openmeter.failures.length === 0);
    await until(async () => (await ledger.request('GET', '/v1/outbox')).body.failures === 1);
    const { body } = await ledger.request('GET', '/v1/outbox');
    assert.is(body.lag, 1);
    assert.match(body.lastError, 'OpenMeter answered 503');
    const metrics = await (await fetch(`${ledger.opsUrl}/metrics`)).text();
    assert.match(metrics, /^gsv_ledger_outbox_lag\{[^}]*\} 1$/m);
    assert.match(metrics, /^gsv_ledger_outbox_failed_total\{reason="unavailable",[^}]*\} 1$/m);

    const retried = await ledger.request('POST', '/v1/outbox/retry', { body: {} });
    assert.equal(retried.body, { receipts: 0 });
    await until(() => openmeter.events.length === 1);
  } finally {
    await ledger.close();
    await openmeter.close();
  }
});

test('the drift report over HTTP: a reply with both sides, and 502 when OpenMeter cannot be read', async () => {
  const openmeter = await startOpenMeter();
  const ledger = await startTestLedger({ openmeter: { url: openmeter.url } });
  try {
    await fund(ledger);
    await charge(ledger, 'one');
    await until(async () => (await ledger.request('GET', '/v1/outbox')).body.lag === 0);
    const agreed = await ledger.request('POST', '/v1/drift', { body: { wallet: 'acme.main' } });
    assert.equal(agreed.body, {
      ok: true,
      wallet: 'acme.main',
      ledger: { receipts: 1, runs: 0, amount: 1 },
      openmeter: { events: 1, amount: 1, waiting: 0 },
      counts: {},
      differences: [],
    });
    const [event] = openmeter.events;
    assert.ok(event);
    if (event) event.subject = 'evil.main';
    const differs = await ledger.request('POST', '/v1/drift', { body: {} });
    assert.equal(differs.body.counts, { event_differs: 1 });
    openmeter.token = 'needed';
    const away = await ledger.request('POST', '/v1/drift', { body: {} });
    assert.equal([away.status, away.body.code], [502, 'openmeter_unavailable']);
  } finally {
    await ledger.close();
    await openmeter.close();
  }
});
