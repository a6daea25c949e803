/** The page of the metrics and what the processes register are the same, both ways. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import { createEdgeMetrics } from '../../gateway/metrics.ts';
import { runnerMetrics } from '../../gateway/runner/metrics.ts';
import { createMetrics } from '../../ledger/metrics.ts';
import { createOutboxMetrics } from '../../ledger/outbox-metrics.ts';
import { AuditWorker } from '../../operator/audit/worker.ts';
import { controllerMetrics, leaderMetrics } from '../../operator/runtime/metrics.ts';
import { EventRecorder } from '../../operator/runtime/recorder.ts';
import { metricsFile, metricsIn, metricsOf } from './metrics.ts';

const log = createLogger({ part: 'test', level: 'fatal' });
/** Registering asks nobody for anything; a scrape would. */
const nobody = {} as never;

const REGISTERED: [folder: { folder: string; except?: string }, register: (registry: Registry) => unknown][] = [
  [
    { folder: 'ledger' },
    (registry) => {
      createMetrics({ registry, sql: nobody, inbox: nobody, log, now: () => new Date() });
      createOutboxMetrics({ registry, outbox: nobody, log });
    },
  ],
  [
    { folder: 'operator' },
    (registry) => {
      controllerMetrics(registry);
      leaderMetrics(registry, nobody);
      new EventRecorder({ store: nobody, clock: nobody, log, instance: 'one', registry });
      new AuditWorker({ doors: nobody, everyMs: 1, clock: nobody, log, registry });
    },
  ],
  [{ folder: 'gateway', except: 'gateway/runner' }, (registry) => createEdgeMetrics(registry, () => 0)],
  [{ folder: 'gateway/runner' }, (registry) => runnerMetrics(registry)],
];

interface Registered {
  name: string;
  type: string;
  help: string;
  labelNames: string[];
}

for (const [folder, register] of REGISTERED) {
  test(`${folder.folder}: what is registered and what the page says are the same`, () => {
    const registry = new Registry();
    register(registry);
    const registered = registry
      .getMetricsAsArray()
      .map((metric) => metric as unknown as Registered)
      .map(({ name, type, help, labelNames }) => ({ name, type: String(type), labels: labelNames ?? [], help }));
    assert.equal(
      metricsOf(folder),
      registered.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    );
    assert.ok(registered.length > 4);
  });
}

test('the committed page is the generated one and has a place for every figure that another page names', () => {
  const page = metricsFile();
  assert.is(page, readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8'));
  for (const [, name = ''] of page.matchAll(/`[^`]*?\b(gsv_\w+)/g))
    assert.ok(/^gsv_(process|nodejs)_/.test(name) || page.includes(`| \`${name}\``), name);
});

test('a declaration that cannot be read is an error', () => {
  assert.is(metricsIn("new Counter({ name: 'a', help: 'b', registers })").length, 1);
  assert.throws(() => metricsIn('new Gauge({ name: NAME, help: HELP })'), /must begin with name/);
});
