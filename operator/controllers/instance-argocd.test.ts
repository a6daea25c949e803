/** The whole ladder on the double of Argo CD and External Secrets. */
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { ArgoCdDouble } from '../../hack/argocd/double.ts';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';
import { ArgoDelivery } from '../delivery/argocd/delivery.ts';
import { rootApplicationName } from '../render/render.ts';

const KEY = { namespace: NS, name: 'claims' };
const PROJECT = { namespace: NS, name: 'default' };
/** Far longer than a change takes to arrive, far shorter than Argo CD's own poll. */
const SOON_MS = 10_000;
const FOREIGN = 'tenants/82/acme/default/foreign.yaml';

type Argo = { world: World; argo: ArgoCdDouble };

async function withArgoCd(run: (given: Argo) => Promise<void>): Promise<void> {
  const world = await World.open();
  const argo = new ArgoCdDouble(world.git, world.clock, [rootApplicationName('acme')]);
  try {
    await world.start((doors) => {
      const store = argo.over(doors.store);
      const now = () => world.clock.now();
      return { ...doors, store, delivery: new ArgoDelivery({ store, history: world.git, namespace: 'argocd', now }) };
    });
    await world.catalog({ capability: { ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] } });
    await run({ world, argo });
  } finally {
    await world.close();
  }
}

async function ready({ world }: Argo): Promise<string> {
  await world.order('claims', { fulfilment: world.pay() });
  await world.advance(SOON_MS);
  assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  return (await world.instance()).status?.workloadNamespace ?? '';
}

const messageOf = async (world: World, type: string) =>
  (await world.instance()).status?.conditions?.find((condition) => condition.type === type)?.message ?? '';

const foreign = (world: World, text: string) =>
  world.git.commit({ owns: [FOREIGN], files: new Map([[FOREIGN, text]]), subject: 'foreign', trailers: {} });

test('an Instance of a new Project becomes Ready long before the poll, with few hints', () =>
  withArgoCd(async (given) => {
    const namespace = await ready(given);
    const { argo, world } = given;
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'True/ArgoCdSynced');
    assert.ok(argo.get('ExternalSecret', 'i-claims', namespace));
    assert.ok(argo.hints > 0 && argo.hints <= 6, `${argo.hints} hints`);
    const { hints } = argo;
    await world.advance(600_000);
    assert.is(argo.hints, hints);
  }));

test('a change is applied and the Instance says so', () =>
  withArgoCd(async (given) => {
    const namespace = await ready(given);
    const { spec } = await given.world.instance();
    await given.world.apply('Instance', KEY, { ...spec, config: { tone: 'brisk' } });
    await given.world.advance(SOON_MS);
    assert.is(await given.world.condition('Instance', KEY), 'True/Succeeded');
    assert.match(JSON.stringify(given.argo.get('ConfigMap', 'i-claims', namespace)), /brisk/);
  }));

test('a change of one Instance leaves the others of the Project Ready all the way', () =>
  withArgoCd(async (given) => {
    await ready(given);
    const { world } = given;
    world.writes.length = 0;
    await world.order('other', { fulfilment: world.pay(1) });
    await world.advance(SOON_MS);
    assert.is(await world.condition('Instance', { namespace: NS, name: 'other' }), 'True/Succeeded');
    assert.equal(
      world.writes.filter((write) => write.endsWith('Instance claims')),
      [],
    );
  }));

test('retries that are used up are healed by a new commit, once the cause is cured', () =>
  withArgoCd(async ({ world, argo }) => {
    argo.unreadable.add('i-claims');
    await world.order('claims', { fulfilment: world.pay() });
    await world.advance(SOON_MS);
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'False/SecretSyncedError');
    assert.match(await messageOf(world, 'Synced'), /ExternalSecret i-claims: could not get secret data from provider/);
    await world.advance(170_000);
    assert.is(await world.condition('Instance', KEY, 'Ready'), 'False/SecretSyncedError');
    const retries = () => world.git.commits.filter(({ trailers }) => 'Gsv-Retry-Of' in trailers).length;
    assert.is(retries(), 1);

    argo.unreadable.clear();
    await world.advance(600_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.ok(retries() <= 3, `${retries()} retries`);
  }));

test('without the new commit nothing would ever heal: the double refuses a commit that has failed', () =>
  withArgoCd(async ({ world, argo }) => {
    const commit = world.git.commit.bind(world.git);
    world.git.commit = ({ force: _, ...change }) => commit(change);
    argo.unreadable.add('i-claims');
    await world.order('claims', { fulfilment: world.pay() });
    await world.advance(200_000);
    argo.unreadable.clear();
    await world.advance(3_600_000);
    assert.is(await world.condition('Instance', KEY), 'False/RetriesExhausted');
  }));

test('broken YAML of somebody else is named on everybody, and goes with the file', () =>
  withArgoCd(async (given) => {
    const { world } = given;
    await ready(given);
    await foreign(world, 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: foreign }\ndata: a: b: [');
    await world.advance(130_000);
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'False/ComparisonError');
    assert.match(await messageOf(world, 'Synced'), /foreign\.yaml/);
    assert.is((await world.instance()).status?.lifecycle, 'Active');
    await world.git.remove({ owns: [FOREIGN], subject: 'foreign', trailers: {} });
    await world.advance(130_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('a removal waits for what Argo CD has applied', () =>
  withArgoCd(async (given) => {
    const { world, argo } = given;
    const namespace = await ready(given);
    await world.delete('Instance', KEY);
    assert.is(await world.condition('Instance', KEY), 'False/WorkloadRemains');
    await world.advance(SOON_MS);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.is(argo.get('ConfigMap', 'i-claims', namespace), undefined);
  }));

const refuseRemoval = async ({ world, argo }: Argo): Promise<void> => {
  await ready({ world, argo });
  argo.refused.set('ConfigMap/i-claims', 'failed calling webhook');
  await world.delete('Instance', KEY);
  await world.advance(100_000);
  assert.is(await world.condition('Instance', KEY), 'False/SyncError');
  await world.advance(100_000);
  argo.refused.clear();
};

test('a removal whose retries are used up is healed by a new commit, once it is not refused any more', () =>
  withArgoCd(async (given) => {
    await refuseRemoval(given);
    await given.world.advance(600_000);
    assert.is(await given.world.store.get('Instance', KEY), undefined);
    const retries = given.world.git.commits.filter(({ trailers }) => 'Gsv-Retry-Of' in trailers).length;
    assert.ok(retries > 0 && retries <= 3, `${retries} retries`);
  }));

test('without the new commit it would remain for ever', () =>
  withArgoCd(async (given) => {
    const remove = given.world.git.remove.bind(given.world.git);
    given.world.git.remove = ({ force: _, ...change }) => remove(change);
    await refuseRemoval(given);
    await given.world.advance(3_600_000);
    assert.is(await given.world.condition('Instance', KEY), 'False/SyncError');
  }));

test('a Project goes after its Application and its namespace, and only then its path', () =>
  withArgoCd(async (given) => {
    const { world, argo } = given;
    const namespace = await ready(given);
    argo.stuck.add(namespace);
    await world.delete('Instance', KEY);
    await world.delete('Project', PROJECT);
    await world.advance(SOON_MS);
    assert.is(await world.condition('Project', PROJECT), 'False/ApplicationRemains');
    assert.ok([...world.git.files.keys()].some((path) => path.startsWith('tenants/82/acme/default/project/')));

    const { spec } = await world.get('Project', PROJECT);
    const annotations = { 'store.gsv.dev/force-removal': 'application' };
    const written: string[] = [];
    const applyStatus = world.store.applyStatus.bind(world.store);
    world.store.applyStatus = (kind, key, status, options) => {
      written.push(`${kind} ${JSON.stringify(status)}`);
      return applyStatus(kind, key, status, options);
    };
    await world.store.apply('Project', { metadata: { ...PROJECT, annotations }, spec }, { fieldManager: 'test' });
    await world.advance(SOON_MS);
    assert.match(written.join('\n'), /Project .*RemovalForced.*the step application is not waited for/);
    assert.is(await world.store.get('Project', PROJECT), undefined);
    assert.not.ok([...world.git.files.keys()].some((path) => path.startsWith('tenants/82/acme/default/')));
  }));
