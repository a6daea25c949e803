import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { holds, type Installed, installDefinitions } from '../../hack/cluster/definitions.ts';
import { testCluster } from '../../hack/cluster/testing.ts';
import { OWN_KINDS, type OwnKind } from '../definitions.ts';
import { KINDS, type KindMap } from '../kinds.ts';
import { validateObject } from '../validate.ts';
import { KubernetesStore } from './kubernetes.ts';
import { KubernetesApi } from './kubernetes-api.ts';
import { KubernetesConnection } from './kubernetes-connection.ts';
import { ApiError, storeError } from './kubernetes-errors.ts';

const TESTDATA = join(import.meta.dirname, '../testdata');
const NAMESPACE = 'gsv-org-acme';

type Any = KindMap[OwnKind];
interface Fixture {
  /** What was there before, for rules about changes. */
  old?: Any;
  object: Any;
}

const cluster = await testCluster({ controllers: false });
const api = new KubernetesApi(new KubernetesConnection(cluster.kubeconfig));
const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
await store.create('Namespace', { metadata: { name: NAMESPACE }, spec: {} });
after(() => Promise.all([store.close(), api.close()]));

test('every CRD is accepted by the API server without a complaint', async () => {
  const installed = await installDefinitions(cluster.kubeconfig);
  assert.equal(
    installed.map((each) => each.spec.names.kind).sort(),
    [...OWN_KINDS].sort(),
    'each kind has its CRD, and each CRD its kind',
  );
  const complaints = (each: Installed): unknown[] => [
    ...['Established', 'NamesAccepted'].filter((type) => !holds(each, type)),
    ...(each.status?.conditions ?? []).filter((condition) => condition.type === 'NonStructuralSchema'),
  ];
  for (const each of installed) assert.equal(complaints(each), [], each.metadata.name);
});

for (const kind of OWN_KINDS) {
  const folder = join(TESTDATA, 'cel', kind.toLowerCase());
  const files = readdirSync(join(TESTDATA, 'cel')).includes(kind.toLowerCase()) ? readdirSync(folder).sort() : [];
  for (const file of files) {
    const fixture = parse(readFileSync(join(folder, file), 'utf8')) as Fixture;
    const passes = file.endsWith('.pass.yaml');
    test(`${kind}: ${file} has the verdict that our own evaluator gives`, async () => {
      const stated = validateObject(kind, fixture.object, fixture.old);
      assert.is(stated.length === 0, passes);
      assert.equal(await verdict(kind, fixture), stated);
    });
  }

  test(`${kind}: the examples are accepted with their status`, async () => {
    const text = readFileSync(join(TESTDATA, 'examples', `${kind.toLowerCase()}.yaml`), 'utf8');
    for (const example of parseAllDocuments(text)) {
      const { metadata, spec, status } = example.toJS() as Any;
      const desired = { metadata, spec } as Parameters<typeof store.apply<OwnKind>>[1];
      const applied = await store.apply(kind, desired, { fieldManager: 'example' });
      assert.equal(applied.spec, spec);
      const reported = await store.applyStatus(kind, metadata, status ?? {}, { fieldManager: 'gsv-operator' });
      assert.equal(reported.status, status ?? { observedGeneration: -1 });
      await store.delete(kind, metadata);
    }
  });
}

/** What the API server finds wrong with the change; nothing is kept of it. */
async function verdict(kind: OwnKind, { old, object }: Fixture): Promise<unknown> {
  const { apiVersion, plural, namespaced } = KINDS[kind];
  const collection = `/apis/${apiVersion}/${namespaced ? `namespaces/${NAMESPACE}/` : ''}${plural}`;
  const item = `${collection}/${object.metadata.name}`;
  const query = { dryRun: 'All', fieldValidation: 'Strict' };
  const repeat = 'refused';
  try {
    if (old === undefined) {
      await api.call('POST', collection, { query, body: object, repeat });
      return [];
    }
    const { metadata } = (await api.call('POST', collection, { body: old, repeat })) as Any;
    const { resourceVersion } = metadata;
    const body = { ...object, metadata: { ...object.metadata, resourceVersion } };
    await api.call('PUT', item, { query, body, repeat });
    return [];
  } catch (error) {
    const { code, causes } = storeError(ApiError.of(error), item);
    assert.is(code, 'Invalid', (error as Error).message);
    return causes;
  } finally {
    if (old !== undefined) await api.call('DELETE', item, { repeat });
  }
}
