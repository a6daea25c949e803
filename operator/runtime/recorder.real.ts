import { after, test } from 'node:test';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import type { KindMap } from '../../crds/kinds.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { testCluster } from '../../hack/cluster/testing.ts';
import { kubectl } from '../../hack/processes/kubectl.ts';
import { systemClock } from './clock.ts';
import { EventRecorder } from './recorder.ts';

const cluster = await testCluster({ controllers: false });
const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
after(() => store.close());
const recorder = new EventRecorder({
  store,
  clock: systemClock,
  log: createLogger({ part: 'operator', level: 'silent' }),
  instance: 'pod-1',
  registry: new Registry(),
});

/** The object as it is, and as it would be with this condition. */
function failing<K extends 'Organization' | 'Project'>(object: KindMap[K]) {
  const condition = { type: 'Ready', status: 'False', reason: 'GitUnavailable', message: 'The Git remote is away.' };
  return { ...object, status: { conditions: [{ ...condition, lastTransitionTime: '' }] } };
}

async function describes(...args: string[]): Promise<string> {
  await recorder.idle();
  return kubectl(cluster.kubeconfig, 'describe', ...args);
}

test('kubectl describe shows what happened to an object with a namespace, and how often', async () => {
  await store.create('Namespace', { metadata: { name: 'gsv-org-acme' }, spec: {} });
  const object = await store.create('Project', { metadata: { namespace: 'gsv-org-acme', name: 'main' }, spec: {} });
  recorder.statusWritten(object, failing(object));
  assert.match(
    await describes('gsvp', 'main', '-n', 'gsv-org-acme'),
    /Warning +GitUnavailable .*The Git remote is away\./,
  );
  for (let n = 0; n < 2; n += 1) recorder.statusWritten(object, failing(object));
  const text = await describes('gsvp', 'main', '-n', 'gsv-org-acme');
  assert.match(text, /Warning +GitUnavailable +\S+ \(x3 over .*gsv-operator +The Git remote is away\./);
  assert.is((await store.list('Event', { namespace: 'gsv-org-acme' })).length, 1);
});

test('and of one without a namespace', async () => {
  const spec = { display: { title: 'Acme' } };
  const object = await store.create('Organization', { metadata: { name: 'acme' }, spec });
  recorder.statusWritten(object, failing(object));
  assert.match(await describes('gsvg', 'acme'), /Warning +GitUnavailable .*The Git remote is away\./);
});
