import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { addInstance, probe, run, runTicket, setSecret, startBench } from '../../hack/runtime/runner-bench.ts';
import { type SampleRuntime, startSampleRuntime } from '../../hack/runtime/sample.ts';

const FLOW = readFileSync(new URL('../../config/flows/claims-triage.json', import.meta.url));

/** Runtimes by Instance, as their Services would lead to them; what is asked for and not there is a dead address. */
const own = new Map<string, SampleRuntime>();
const asked: string[] = [];

const bench = await startBench({
  locateRuntime: (instance, namespace) => {
    asked.push(`${namespace}/${instance}`);
    return own.get(instance)?.url ?? 'http://127.0.0.1:9';
  },
});
await bench.store.create('Project', {
  metadata: { namespace: 'gsv-org-acme', name: 'default' },
  spec: { runtimeProfile: 'Namespace' },
});
after(async () => {
  await Promise.all([...own.values()].map((runtime) => runtime.close()));
  await bench.close();
});

async function start(instance: string, key: string): Promise<void> {
  await own.get(instance)?.close();
  own.set(
    instance,
    await startSampleRuntime({ key, port: Number(new URL(own.get(instance)?.url ?? 'http://x:0').port) }),
  );
}

async function flows(url: string, key: string): Promise<number> {
  const reply = await fetch(`${url}/flows`, { headers: { 'x-api-key': key } });
  return ((await reply.json()) as unknown[]).length;
}

test('under profile Namespace a run goes to the Instance’s own runtime, with its own key', async () => {
  const instance = await addInstance(bench, { name: 'claims', flow: FLOW });
  await start('claims', 'key-of-claims');
  await setSecret(bench, instance, 'runtime-key', 'key-of-claims');
  const reply = await run(bench, await runTicket(bench, instance));
  assert.is(reply.status, 200, reply.text);
  assert.equal(asked, ['gsv-w-acme-default-00000000/claims']);
  assert.is(await flows(own.get('claims')?.url ?? '', 'key-of-claims'), 1);
  assert.is(await flows(bench.runtime.url, bench.runtime.key), 0, 'the shared runtime never saw the flow');
});

test('two Instances never share a runtime, and one without a key is not ready', async () => {
  const instance = await addInstance(bench, { name: 'other', flow: FLOW });
  await start('other', 'key-of-other');
  const early = await probe(bench, instance);
  assert.equal([early.status, early.body.code], [409, 'instance_not_ready']);
  await setSecret(bench, instance, 'runtime-key', 'key-of-other');
  assert.is((await run(bench, await runTicket(bench, instance))).status, 200);
  assert.is(await flows(own.get('other')?.url ?? '', 'key-of-other'), 1);
});

test('a probe after a rotation tries the new key, and so does the next run', async () => {
  const instance = await addInstance(bench, { name: 'rotated', flow: FLOW });
  await start('rotated', 'first');
  await setSecret(bench, instance, 'runtime-key', 'first');
  assert.is((await run(bench, await runTicket(bench, instance))).status, 200);
  await setSecret(bench, instance, 'runtime-key', 'second');
  assert.is((await probe(bench, instance)).body.code, 'runtime_unavailable', 'the old pod does not know the new key');
  await start('rotated', 'second');
  assert.is((await probe(bench, instance)).status, 200);
  const reply = await run(bench, await runTicket(bench, instance));
  assert.is(reply.status, 200, reply.text);
});

test('a runtime that is away is said to be away, and its key stays out of reply and log', async () => {
  const instance = await addInstance(bench, { name: 'away', flow: FLOW });
  await setSecret(bench, instance, 'runtime-key', 'canary-of-the-key');
  const reply = await run(bench, await runTicket(bench, instance));
  assert.equal([reply.status, reply.body.code], [503, 'runtime_unavailable']);
  assert.not.match(reply.text + bench.logs.join('\n'), /canary-of-the-key/);
});
