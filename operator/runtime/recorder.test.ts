import { type TestContext, test } from 'node:test';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { type ResourceStore, StoreError } from '../../crds/store.ts';
import { ManualClock } from '../../hack/testing/operator/manual-clock.ts';
import { EventRecorder } from './recorder.ts';

const HOUR_MS = 3_600_000;

const object = (status: 'True' | 'False', reason: string, more: { namespace?: string; uid?: string } = {}) => ({
  apiVersion: 'store.gsv.dev/v1alpha1',
  kind: 'Team',
  metadata: {
    name: 'ops',
    uid: 'uid-1',
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...more,
  },
  spec: {},
  status: { conditions: [{ type: 'Ready', status, reason, message: `${reason}.`, lastTransitionTime: '' }] },
});
const GOOD = object('True', 'Succeeded', { namespace: 'acme' });
const BAD = object('False', 'WriteConflict', { namespace: 'acme' });

async function open(t: TestContext, wrap: (store: ResourceStore) => Pick<ResourceStore, 'apply'> = (store) => store) {
  const store = await EmbeddedStore.open();
  for (const name of ['acme', 'default']) await store.create('Namespace', { metadata: { name }, spec: {} });
  const clock = new ManualClock();
  const registry = new Registry();
  const log = createLogger({ part: 'operator', level: 'silent' });
  const recorder = new EventRecorder({ store: wrap(store), clock, log, instance: 'pod-1', registry });
  t.after(() => store.close());
  const told = async () => {
    await recorder.idle();
    const events = await store.list('Event');
    return events.map(({ spec }) => `${spec.type} ${spec.reason} x${spec.count}`).sort();
  };
  return { store, clock, recorder, told, figures: () => registry.metrics() };
}

test('what happened becomes an Event of the object, in its namespace; the same again becomes a count', async (t) => {
  const { store, clock, recorder, told } = await open(t);
  for (let round = 0; round < 3; round += 1) {
    recorder.statusWritten(GOOD, BAD);
    recorder.statusWritten(BAD, GOOD);
    await recorder.idle();
    await clock.advance(60_000);
  }
  assert.equal(await told(), ['Normal Ready x3', 'Warning WriteConflict x3']);
  const [event] = (await store.list('Event')).filter(({ spec }) => spec.type === 'Warning');
  assert.is(event?.metadata.namespace, 'acme');
  assert.equal(event?.spec.involvedObject, {
    apiVersion: 'store.gsv.dev/v1alpha1',
    kind: 'Team',
    namespace: 'acme',
    name: 'ops',
    uid: 'uid-1',
    resourceVersion: '1',
  });
  assert.equal(
    [event?.spec.firstTimestamp, event?.spec.lastTimestamp],
    ['2026-01-01T00:00:00Z', '2026-01-01T00:02:00Z'],
  );
  assert.equal([event?.spec.source.component, event?.spec.reportingInstance], ['gsv-operator', 'pod-1']);
});

test('an object without a namespace has its Events in default', async (t) => {
  const { store, recorder } = await open(t);
  recorder.statusWritten(object('False', 'WriteConflict'), object('True', 'Succeeded'));
  await recorder.idle();
  assert.equal(
    (await store.list('Event')).map(({ metadata, spec }) => [metadata.namespace, spec.involvedObject.namespace]),
    [['default', undefined]],
  );
});

test('a status that changes nothing, as after a restart, makes no Event', async (t) => {
  const { recorder, told } = await open(t);
  recorder.statusWritten(GOOD, GOOD);
  assert.equal(await told(), []);
});

test('after an hour a repeat begins a new series: the API server has forgotten the old one', async (t) => {
  const { clock, recorder, told } = await open(t);
  recorder.statusWritten(GOOD, BAD);
  await recorder.idle();
  await clock.advance(HOUR_MS);
  recorder.statusWritten(GOOD, BAD);
  assert.equal(await told(), ['Warning WriteConflict x1', 'Warning WriteConflict x1']);
});

test('one object has 25 Events in a row and one more every five minutes; others have their own', async (t) => {
  const { clock, recorder, told, figures } = await open(t);
  const flap = async (times: number) => {
    for (let n = 0; n < times; n += 1) recorder.statusWritten(GOOD, BAD);
    await recorder.idle();
  };
  await flap(40);
  assert.equal(await told(), ['Warning WriteConflict x25']);
  assert.match(await figures(), 'gsv_operator_events_total{result="dropped"} 15');
  await clock.advance(600_000);
  await flap(10);
  assert.equal(await told(), ['Warning WriteConflict x27']);
  const other = object('True', 'Succeeded', { namespace: 'acme', uid: 'uid-2' });
  recorder.statusWritten(object('False', 'WriteConflict', { namespace: 'acme', uid: 'uid-2' }), other);
  assert.equal(await told(), ['Normal Ready x1', 'Warning WriteConflict x27']);
});

test('an API server that refuses or hangs fails nobody and costs bounded memory', async (t) => {
  let calls = 0;
  const refusing = () => ({
    apply: async () => {
      calls += 1;
      throw new StoreError('Unavailable', 'away');
    },
  });
  const { recorder, figures, told } = await open(t, refusing as never);
  for (let n = 0; n < 2_000; n += 1) {
    const uid = `uid-${n}`;
    recorder.statusWritten(object('True', 'Succeeded', { uid }), object('False', 'WriteConflict', { uid }));
  }
  assert.equal(await told(), []);
  assert.is(calls, 1_000);
  const text = await figures();
  assert.match(text, 'gsv_operator_events_total{result="failed"} 1000');
  assert.match(text, 'gsv_operator_events_total{result="dropped"} 1000');
  await recorder.close();
  recorder.statusWritten(GOOD, BAD);
  assert.is(calls, 1_000);
});
