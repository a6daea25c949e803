import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { eventually } from '../../crds/store/contract-fixtures.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { FaultProxy } from '../../hack/cluster/fault-proxy.ts';
import { testCluster } from '../../hack/cluster/testing.ts';

const HOLDER = fileURLToPath(import.meta.resolve('../../hack/testing/operator/lease-holder.ts'));
const LEASE = { namespace: 'gsv-system', name: 'gsv-operator' };

const children: ChildProcess[] = [];
// Here and not where they start, or they would end with that test; and before the cluster's folder goes.
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

const cluster = await testCluster({ controllers: false });
const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
after(() => store.close());
await store.create('Namespace', { metadata: { name: 'gsv-system' }, spec: {} });
/** Every candidate writes its epoch here while it leads, and when it asked its guard. */
const log = join(cluster.folder, 'writes');
await writeFile(log, '');

/** In the order in which the guards let the writes out. */
const epochs = (): number[] =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' '))
    .sort(([, a = '0'], [, b = '0']) => (BigInt(a) < BigInt(b) ? -1 : 1))
    .map(([epoch]) => Number(epoch));

class Holder {
  readonly name: string;
  readonly child: ChildProcess;
  said = '';

  constructor(name: string, kubeconfig = cluster.kubeconfig) {
    this.name = name;
    this.child = spawn(process.execPath, [HOLDER, kubeconfig, name, log], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.child.stdout?.on('data', (text: Buffer) => {
      this.said += text;
    });
    children.push(this.child);
  }

  async leads(): Promise<void> {
    await eventually(`${this.name} leads`, () => this.said.includes('leading'));
    await this.writes();
  }

  async writes(): Promise<void> {
    const before = epochs().length;
    await eventually(`${this.name} writes`, () => epochs().length > before);
  }
}

let latest = new Holder('first');
await latest.leads();

test('killed, it is followed by the next, with a higher epoch', async () => {
  const next = new Holder('second');
  await eventually('it stands by', () => next.said.includes('standby'));
  latest.child.kill('SIGKILL');
  await next.leads();
  assert.is(epochs().at(-1), 2);
  latest = next;
});

test('stopped and continued, it writes nothing more', async () => {
  const stopped = latest;
  latest = new Holder('third');
  stopped.child.kill('SIGSTOP');
  await latest.leads();
  assert.is(epochs().at(-1), 3);
  stopped.child.kill('SIGCONT');
  await eventually('it ends', () => stopped.said.includes('ended deposed'));
  await latest.writes();
});

test('asked to end, it lets the next one in', async () => {
  const asked = latest;
  latest = new Holder('fourth');
  await eventually('it stands by', () => latest.said.includes('standby'));
  asked.child.kill('SIGTERM');
  await latest.leads();
  await eventually('it has ended', () => asked.said.includes('ended released'));
  assert.is(epochs().at(-1), 4);
});

test('cut off from the API server, it stops by itself, and the other leads', async () => {
  const { proxy, kubeconfig } = await FaultProxy.start(cluster);
  after(() => proxy.close());
  const before = latest;
  const cut = new Holder('cut-off', kubeconfig);
  await eventually('it stands by', () => cut.said.includes('standby'));
  before.child.kill('SIGTERM');
  await cut.leads();
  latest = new Holder('fifth');
  await eventually('it stands by', () => latest.said.includes('standby'));
  proxy.refuse();
  await latest.leads();
  await eventually('it has ended', () => cut.said.includes('ended deposed'));
  assert.ok(proxy.fired.resets + proxy.fired.refusals > 0);
  assert.is(epochs().at(-1), 6);
});

test('a Lease that is deleted ends the term; what follows never writes beside it', async () => {
  const cut = latest;
  const next = new Holder('sixth');
  await eventually('it stands by', () => next.said.includes('standby'));
  const written = epochs().length;
  await store.delete('Lease', LEASE);
  await eventually('the term is over', () => cut.said.includes('ended deposed'));
  await next.leads();
  const after = epochs().slice(written);
  const turn = after.indexOf(1);
  assert.ok(
    turn >= 0 && after.slice(turn).every((epoch) => epoch === 1),
    'the Lease begins anew; Git tells it the epoch',
  );
  assert.ok(after.slice(0, turn).every((epoch) => epoch === 6));
  latest = next;
});

test('in all of this no epoch wrote after a higher one had begun', (t) => {
  const all = epochs();
  const beforeDeletion = all.slice(0, all.lastIndexOf(6) + 1);
  assert.equal(
    beforeDeletion,
    [...beforeDeletion].sort((a, b) => a - b),
  );
  t.diagnostic(`${all.length} writes, ${new Set(beforeDeletion).size} terms and one after the deletion`);
});
