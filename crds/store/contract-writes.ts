import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { KindMap } from '../kinds.ts';
import {
  condition,
  defined,
  FINALIZER,
  type GetStore,
  organization,
  refused,
  unique,
  WRITER,
} from './contract-fixtures.ts';

export function writing(store: GetStore): void {
  test('create fills in identity, version, time and generation 1', async () => {
    const made = await store().create('Organization', organization(unique('org')));
    assert.is(made.kind, 'Organization');
    assert.is(made.apiVersion, 'store.gsv.dev/v1alpha1');
    assert.match(made.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.ok(made.metadata.resourceVersion.length > 0);
    assert.is(made.metadata.generation, 1);
    assert.match(made.metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.is(made.metadata.deletionTimestamp, undefined);
  });

  test('a new object has been observed by nobody: status.observedGeneration is -1', async () => {
    const name = unique('org');
    await store().create('Organization', organization(name));
    assert.is((await store().get('Organization', { name }))?.status?.observedGeneration, -1);
  });

  test('create keeps labels, annotations and finalizers', async () => {
    const metadata = {
      name: unique('org'),
      labels: { tier: 'gold' },
      annotations: { 'store.gsv.dev/note': 'A note.' },
      finalizers: [FINALIZER],
    };
    const made = await store().create('Organization', { metadata, spec: { display: { title: 'T' } } });
    assert.equal(made.metadata.labels, metadata.labels);
    assert.equal(made.metadata.annotations, metadata.annotations);
    assert.equal(made.metadata.finalizers, [FINALIZER]);
    await store().setFinalizers('Organization', made.metadata, [], made.metadata);
  });

  test('apply creates what is not there', async () => {
    const name = unique('org');
    const made = await store().apply('Organization', organization(name), WRITER);
    assert.is(made.metadata.generation, 1);
    assert.equal((await store().get('Organization', { name }))?.spec, { display: { title: 'Suite' } });
  });

  test('an equal apply changes nothing, not even the resourceVersion', async () => {
    const desired = organization(unique('org'), 'Same', { labels: { tier: 'gold' } });
    const first = await store().apply('Organization', desired, WRITER);
    const second = await store().apply('Organization', structuredClone(desired), WRITER);
    assert.equal(second, first);
  });

  test('a changed spec raises generation by one and changes resourceVersion', async () => {
    const name = unique('org');
    const first = await store().apply('Organization', organization(name, 'One'), WRITER);
    const second = await store().apply('Organization', organization(name, 'Two'), WRITER);
    assert.is(second.metadata.generation, 2);
    assert.is(second.metadata.uid, first.metadata.uid);
    assert.is.not(second.metadata.resourceVersion, first.metadata.resourceVersion);
    assert.is(second.spec.display.title, 'Two');
  });

  test('a field that the writer no longer lists goes', async () => {
    const name = unique('org');
    const full = { metadata: { name }, spec: { display: { title: 'T' }, suspend: true } };
    await store().apply('Organization', full, WRITER);
    const second = await store().apply('Organization', organization(name, 'T'), WRITER);
    assert.is(second.spec.suspend, undefined);
  });

  test('a changed label leaves the generation', async () => {
    const name = unique('org');
    const first = await store().apply('Organization', organization(name), WRITER);
    const second = await store().apply('Organization', organization(name, 'Suite', { labels: { a: 'b' } }), WRITER);
    assert.is(second.metadata.generation, 1);
    assert.is.not(second.metadata.resourceVersion, first.metadata.resourceVersion);
  });

  test('a writer takes its own labels back and leaves those of others', async () => {
    const name = unique('org');
    const desired = (labels: Record<string, string>) => organization(name, 'Suite', { labels });
    await store().apply('Organization', desired({ mine: '1', shared: 'x' }), WRITER);
    await store().apply('Organization', desired({ theirs: '2', shared: 'x' }), { fieldManager: 'somebody-else' });
    const last = await store().apply('Organization', organization(name), WRITER);
    assert.equal(last.metadata.labels, { theirs: '2', shared: 'x' });
  });

  test('of writers that saw the same version exactly one wins', async () => {
    const name = unique('org');
    const { metadata } = await store().create('Organization', organization(name));
    const options = { ...WRITER, resourceVersion: metadata.resourceVersion };
    const writes = [1, 2, 3, 4, 5].map((n) =>
      store().apply('Organization', organization(name, `Writer ${n}`), options),
    );
    const results = await Promise.allSettled(writes);
    assert.is(results.filter((each) => each.status === 'fulfilled').length, 1);
    for (const each of results) if (each.status === 'rejected') assert.is(each.reason.code, 'Conflict');
    assert.is((await store().get('Organization', { name }))?.metadata.generation, 2);
  });
}

export function refusing(store: GetStore): void {
  test('create refuses a name that is taken', async () => {
    const desired = organization(unique('org'));
    await store().create('Organization', desired);
    await refused('AlreadyExists', () => store().create('Organization', desired));
  });

  test('what breaks the schema is Invalid and names the field', async () => {
    const wrong = { metadata: { name: unique('org') }, spec: { display: { title: 7 as unknown as string } } };
    for (const write of [
      () => store().create('Organization', wrong),
      () => store().apply('Organization', wrong, WRITER),
    ]) {
      const error = await refused('Invalid', write);
      assert.ok(
        error.causes.some((cause) => cause.field === 'spec.display.title'),
        JSON.stringify(error.causes),
      );
    }
    assert.is(await store().get('Organization', wrong.metadata), undefined);
  });

  test('what breaks a CEL rule about a change is Invalid and nothing changes', async () => {
    const name = unique('capability');
    const desired = (title: string) => ({ metadata: { name }, spec: { version: '1.0.0', display: { title } } });
    const first = await store().apply('Capability', desired('One'), WRITER);
    const error = await refused('Invalid', () => store().apply('Capability', desired('Two'), WRITER));
    assert.match(error.message, /version/);
    assert.ok(error.causes.length > 0);
    assert.equal(await store().get('Capability', { name }), first);
  });

  test('a name or a label that Kubernetes does not know is Invalid', async () => {
    await refused('Invalid', () => store().create('Organization', organization('Not_A_Name')));
    const labels = { tier: 'not a label!' };
    await refused('Invalid', () => store().create('Organization', organization(unique('org'), 'T', { labels })));
  });

  test('nothing is created in a Namespace that is not there', async () => {
    const desired = { metadata: { namespace: unique('nowhere'), name: 'default' }, spec: {} };
    await refused('NotFound', () => store().create('Project', desired));
    await refused('NotFound', () => store().apply('Project', desired, WRITER));
  });

  test('an apply from a stale version is a Conflict and changes nothing', async () => {
    const name = unique('org');
    const first = await store().create('Organization', organization(name, 'One'));
    const second = await store().apply('Organization', organization(name, 'Two'), WRITER);
    const stale = { ...WRITER, resourceVersion: first.metadata.resourceVersion };
    await refused('Conflict', () => store().apply('Organization', organization(name, 'Three'), stale));
    assert.equal(await store().get('Organization', { name }), second);
  });
}

export function statuses(store: GetStore): void {
  const status = { observedGeneration: 1, namespace: 'gsv-org-suite', conditions: [condition] };

  test('a status leaves spec and generation, an apply leaves status', async () => {
    const name = unique('org');
    const made = await store().apply('Organization', organization(name), WRITER);
    const reported = await store().applyStatus('Organization', { name }, status, WRITER);
    assert.equal(reported.status, status);
    assert.equal(reported.spec, made.spec);
    assert.is(reported.metadata.generation, 1);
    assert.is.not(reported.metadata.resourceVersion, made.metadata.resourceVersion);
    const changed = await store().apply('Organization', organization(name, 'New'), WRITER);
    assert.equal(changed.status, status);
  });

  test('an equal status changes nothing, a changed one replaces all of it', async () => {
    const name = unique('org');
    await store().create('Organization', organization(name));
    const first = await store().applyStatus('Organization', { name }, status, WRITER);
    assert.equal(await store().applyStatus('Organization', { name }, structuredClone(status), WRITER), first);
    const last = await store().applyStatus('Organization', { name }, { observedGeneration: 2 }, WRITER);
    assert.equal(last.status, { observedGeneration: 2 });
  });

  test('a status of nobody is NotFound, of a stale version a Conflict, of a wrong shape Invalid', async () => {
    const name = unique('org');
    const write = (more: { resourceVersion?: string } = {}, value: KindMap['Organization']['status'] = status) =>
      store().applyStatus('Organization', { name }, defined(value), { ...WRITER, ...more });
    await refused('NotFound', () => write());
    const { metadata } = await store().create('Organization', organization(name));
    await refused('Invalid', () => write({}, { conditions: [{ ...condition, status: 'Perhaps' as 'True' }] }));
    await write({ resourceVersion: metadata.resourceVersion });
    await refused('Conflict', () => write({ resourceVersion: metadata.resourceVersion }, { observedGeneration: 9 }));
  });
}
