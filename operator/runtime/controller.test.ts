import { test } from 'node:test';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import { StoreError } from '../../crds/store.ts';
import { ManualClock } from '../../hack/testing/operator/manual-clock.ts';
import { Controller, type Result } from './controller.ts';
import { outcomeOf, Terminal, Transient, Waiting } from './errors.ts';
import { controllerMetrics } from './metrics.ts';

const turn = async () => {
  for (let each = 0; each < 5; each++) await new Promise((resolve) => setImmediate(resolve));
};

/** Runs one key through results in turn and tells when it was visited (ms after the start). */
async function visits(results: (Result | Error)[], horizonMs: number) {
  const clock = new ManualClock(0);
  const registry = new Registry();
  const times: number[] = [];
  const controller = new Controller({
    name: 'thing',
    reconcile: async () => {
      const result = results[Math.min(times.length, results.length - 1)];
      times.push(clock.now());
      if (result instanceof Error || result === undefined) throw result;
      return result;
    },
    concurrency: 2,
    clock,
    random: () => 1 - Number.EPSILON,
    log: createLogger({ part: 'test', level: 'silent' }),
    metrics: controllerMetrics(registry),
    relist: () => {},
    resyncMs: 10_000,
  });
  controller.start();
  controller.queue.add('k');
  await turn();
  await clock.advance(horizonMs, turn);
  await controller.stop();
  return { times, metrics: await registry.metrics() };
}

const policy: { name: string; results: (Result | Error)[]; horizonMs: number; times: number[] }[] = [
  {
    name: 'progressing comes again now',
    results: [{ kind: 'Progressing' }, { kind: 'Gone' }],
    horizonMs: 0,
    times: [0, 0],
  },
  {
    name: 'success comes again at the resync, with jitter',
    results: [{ kind: 'Succeeded' }],
    horizonMs: 31_000,
    times: [0, 15_000, 30_000],
  },
  {
    name: 'success may ask for an earlier visit',
    results: [{ kind: 'Succeeded', againAfterMs: 700 }, { kind: 'Gone' }],
    horizonMs: 20_000,
    times: [0, 700],
  },
  {
    name: 'success that asks for a later visit is still looked at in between',
    results: [{ kind: 'Succeeded', againAfterMs: 90_000 }, { kind: 'Gone' }],
    horizonMs: 20_000,
    times: [0, 15_000],
  },
  {
    name: 'waiting comes again after its own delay, always the same',
    results: [{ kind: 'Waiting', reason: 'SyncPending', message: '', retryAfterMs: 400 }],
    horizonMs: 1300,
    times: [0, 400, 800, 1200],
  },
  {
    name: 'a passing failure backs off',
    results: [{ kind: 'Transient', reason: 'GitUnavailable', message: '' }],
    horizonMs: 1500,
    times: [0, 200, 600, 1400],
  },
  { name: 'an error without a type backs off too', results: [new Error('boom')], horizonMs: 700, times: [0, 200, 600] },
  {
    name: 'success in between ends the backoff',
    results: [new Error('boom'), new Error('boom'), { kind: 'Succeeded', againAfterMs: 10 }, new Error('boom')],
    horizonMs: 900,
    times: [0, 200, 600, 610, 810],
  },
  {
    name: 'when a user must act it waits for a change',
    results: [{ kind: 'Terminal', reason: 'ConfigInvalid', message: '' }],
    horizonMs: 100_000,
    times: [0],
  },
  { name: 'suspended waits for a change', results: [{ kind: 'Suspended' }], horizonMs: 100_000, times: [0] },
  { name: 'what has gone is forgotten', results: [{ kind: 'Gone' }], horizonMs: 100_000, times: [0] },
];

for (const { name, results, horizonMs, times } of policy) {
  test(`retry policy: ${name}`, async () => {
    assert.equal((await visits(results, horizonMs)).times, times);
  });
}

test('a visit that cannot finish is counted under the reason of its condition', async () => {
  const results = [new Error('boom'), new Waiting(1, 'SyncPending', 'Not yet.'), { kind: 'Gone' } as const];
  const { metrics } = await visits(results, 60_000);
  assert.match(metrics, 'gsv_operator_held_up_total{controller="thing",reason="ReconcileFailed"} 1');
  assert.match(metrics, 'gsv_operator_held_up_total{controller="thing",reason="SyncPending"} 1');
});

test('visits are counted by outcome', async () => {
  const { metrics } = await visits([new Error('boom'), { kind: 'Gone' }], 1000);
  assert.match(metrics, 'gsv_operator_reconcile_total{controller="thing",outcome="Transient"} 1');
  assert.match(metrics, 'gsv_operator_reconcile_total{controller="thing",outcome="Gone"} 1');
  assert.match(metrics, 'gsv_operator_queue_depth{controller="thing"} 0');
});

test('the type of an error is its treatment, and unknown text stays out of status', () => {
  assert.equal(outcomeOf(new Waiting(5, 'SyncPending', 'Soon.')), {
    kind: 'Waiting',
    reason: 'SyncPending',
    message: 'Soon.',
    retryAfterMs: 5,
  });
  assert.is(outcomeOf(new Terminal('ConfigInvalid', 'Bad.')).kind, 'Terminal');
  assert.equal(outcomeOf(new Transient('LedgerUnavailable', 'Away.')), {
    kind: 'Transient',
    reason: 'LedgerUnavailable',
    message: 'Away.',
  });
  assert.is((outcomeOf(new StoreError('Conflict', 'x')) as { reason: string }).reason, 'WriteConflict');
  const unknown = outcomeOf(Object.assign(new Error('token s3cr3t'), { code: 'ECONNREFUSED' }));
  assert.equal(unknown, {
    kind: 'Transient',
    reason: 'ReconcileFailed',
    message: 'An attempt failed with ECONNREFUSED; the operator’s log has the details.',
  });
});
