import { test } from 'node:test';
import { Counter } from 'prom-client';
import * as assert from 'uvu/assert';
import { freePort } from '../hack/cluster/starting.ts';
import { createLogger } from './log.ts';
import { createRegistry, type ReadyCheck, readiness, startOps } from './ops.ts';

const lines: string[] = [];
const log = createLogger({ part: 'test', destination: { write: (line: string) => void lines.push(line) } });

test('an ops server answers livez, readyz and metrics, and stops', async () => {
  const registry = createRegistry('test');
  new Counter({ name: 'gsv_test_total', help: 'test', registers: [registry] }).inc(3);
  let reasons: string[] = ['the book is closed'];
  const ops = await startOps({ port: await freePort(), log, registry, ready: async () => reasons });
  try {
    const live = await fetch(`${ops.url}/livez`);
    assert.equal([live.status, await live.json()], [200, { live: true }]);
    const waiting = await fetch(`${ops.url}/readyz`);
    assert.equal([waiting.status, await waiting.json()], [503, { ready: false, reasons: ['the book is closed'] }]);
    reasons = [];
    assert.is((await fetch(`${ops.url}/readyz`)).status, 200);
    assert.match(await (await fetch(`${ops.url}/metrics`)).text(), /gsv_test_total\{part="test"\} 3/);
    assert.is((await fetch(`${ops.url}/other`)).status, 404);
    assert.is((await fetch(`${ops.url}/livez`, { method: 'POST' })).status, 405);
  } finally {
    await ops.close();
  }
  const refused = await fetch(`${ops.url}/livez`).then(
    () => false,
    () => true,
  );
  assert.is(refused, true);
});

test('port 0 means that there is no ops server', async () => {
  const ops = await startOps({ port: 0, log, registry: createRegistry('test'), ready: async () => [] });
  assert.is(ops.url, undefined);
  await ops.close();
});

test('a port in use is an error of the start', async () => {
  const port = await freePort();
  const first = await startOps({ port, log, registry: createRegistry('test'), ready: async () => [] });
  try {
    await startOps({ port, log, registry: createRegistry('test'), ready: async () => [] });
    assert.unreachable('the second start must fail');
  } catch (error) {
    assert.is((error as { code?: string }).code, 'EADDRINUSE');
  } finally {
    await first.close();
  }
});

const unready: { reason: string; ready: ReadyCheck }[] = [
  { reason: 'a check that rejects', ready: () => Promise.reject(new Error('postgres://user:hunter2secret@host')) },
  { reason: 'a check that never ends', ready: () => new Promise(() => undefined) },
];
for (const { reason, ready } of unready) {
  test(`${reason} counts as not ready and its text is not answered`, async () => {
    const reasons = await readiness(ready, log);
    assert.is(reasons.length, 1);
    assert.not.match(reasons.join(), 'hunter2secret');
  });
}

test('what a failed check said is logged without secrets', () => {
  assert.match(lines.join(), 'readiness check failed');
  assert.not.match(lines.join(), 'hunter2secret');
});
