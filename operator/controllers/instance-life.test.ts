import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { plainCapability, publishedVersion, secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };

async function withReady(run: (world: World) => Promise<void>, options: Parameters<World['catalog']>[0] = {}) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog(options);
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await run(world);
  } finally {
    await world.close();
  }
}

async function withWalletFunded(run: (world: World) => Promise<void>, options: Parameters<World['catalog']>[0] = {}) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog(options);
    world.ledger.credit('acme.main', 1_000_000);
    await world.order();
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await run(world);
  } finally {
    await world.close();
  }
}

test('suspend pauses without touching Git or Ready; resume makes it Active again', () =>
  withReady(async (world) => {
    const { spec, status } = await world.instance();
    const commits = world.git.commits.length;
    const suspended = await world.apply('Instance', KEY, { ...spec, suspend: true });
    const paused = (await world.instance()).status;
    assert.is(paused?.lifecycle, 'Paused');
    assert.is(paused?.observedGeneration, suspended.metadata.generation);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(await world.condition('Instance', KEY, 'Reconciling'), '-');
    assert.equal(paused?.timeline, status?.timeline);
    await world.apply('Instance', KEY, { ...spec, suspend: false });
    assert.is((await world.instance()).status?.lifecycle, 'Active');
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(world.git.commits.length, commits);
  }));

test('an Instance that is suspended from the start is Paused and nothing is done for it', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    const commits = world.git.commits.length;
    await world.order('claims', { fulfilment: world.pay(), suspend: true });
    assert.is((await world.instance()).status?.lifecycle, 'Paused');
    assert.is(world.git.commits.length, commits);
    assert.is(world.ledger.fulfilments[0]?.instanceUid, undefined);
    assert.is((await world.instance()).metadata.finalizers, undefined);
  } finally {
    await world.close();
  }
});

test('the first charged run appears in the timeline and never moves', () =>
  withReady(async (world) => {
    const { uid } = (await world.instance()).metadata;
    world.ledger.emit('receipt.first', 'acme.main', { instanceUid: uid }, '2026-01-01T02:00:00.000Z');
    await world.settle();
    assert.is((await world.instance()).status?.timeline?.firstResult, '2026-01-01T02:00:00.000Z');
    world.ledger.emit('receipt.first', 'acme.main', { instanceUid: uid }, '2026-01-01T03:00:00.000Z');
    world.ledger.emit('something.new', 'acme.main', { instanceUid: 7 });
    await world.settle();
    assert.is((await world.instance()).status?.timeline?.firstResult, '2026-01-01T02:00:00.000Z');
  }));

test('a passing failure of an Active Instance shows, but it stays Active and its times stay', () =>
  withReady(async (world) => {
    const before = (await world.instance()).status;
    world.ledger.unavailable = true;
    await world.advance(900_000);
    const { status } = await world.instance();
    assert.is(await world.condition('Instance', KEY), 'False/LedgerUnavailable');
    assert.is(await world.condition('Instance', KEY, 'Funded'), 'True/Succeeded');
    assert.is(status?.lifecycle, 'Active');
    assert.equal(status?.timeline, before?.timeline);
    world.ledger.unavailable = false;
    await world.advance(120_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('the end of an Offering’s life pauses those who have it; the end of sale does not', () =>
  withReady(async (world) => {
    const { spec } = await world.get('Offering', { name: 'claims-agent' });
    await world.apply('Offering', { name: 'claims-agent' }, { ...spec, lifecycle: 'EndOfSale' });
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await world.apply('Offering', { name: 'claims-agent' }, { ...spec, lifecycle: 'EndOfLife' });
    assert.is(await world.condition('Instance', KEY), 'False/OfferingEndOfLife');
    assert.is((await world.instance()).status?.lifecycle, 'Paused');
  }));

test('a suspended Organization pauses its Instances, and resuming it resumes them', () =>
  withReady(async (world) => {
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' }, suspend: true });
    assert.is((await world.instance()).status?.lifecycle, 'Paused');
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    assert.is((await world.instance()).status?.lifecycle, 'Active');
  }));

test('exhausted credits pause at once by default, and recovered ones resume', () =>
  withWalletFunded(async (world) => {
    world.ledger.credit('acme.main', 0);
    world.ledger.emit('wallet.exhausted', 'acme.main');
    await world.settle();
    assert.is(await world.condition('Instance', KEY), 'False/CreditsExhausted');
    assert.is((await world.instance()).status?.lifecycle, 'Paused');
    world.ledger.credit('acme.main', 50_000);
    world.ledger.emit('wallet.recovered', 'acme.main');
    await world.settle();
    assert.is((await world.instance()).status?.lifecycle, 'Active');
  }));

test('credits that runs hold for the moment exhaust nothing', () =>
  withWalletFunded(async (world) => {
    const wallet = world.ledger.wallets.get('acme.main');
    if (wallet) Object.assign(wallet, { available: 0, held: 20_000 });
    world.ledger.emit('wallet.low', 'acme.main');
    await world.settle();
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('the exhaustion ladder warns first and pauses when its time has come', () =>
  withWalletFunded(
    async (world) => {
      world.ledger.credit('acme.main', 0);
      world.ledger.emit('wallet.exhausted', 'acme.main');
      await world.settle();
      assert.is(await world.condition('Instance', KEY, 'Funded'), 'False/CreditsExhausted');
      assert.is((await world.instance()).status?.lifecycle, 'Active');
      await world.advance(3_599_000);
      assert.is((await world.instance()).status?.lifecycle, 'Active');
      await world.advance(61_000);
      assert.is((await world.instance()).status?.lifecycle, 'Paused');
    },
    {
      version: {
        exhaustion: [
          { action: 'Notify', afterSeconds: 0 },
          { action: 'Pause', afterSeconds: 3600 },
        ],
      },
    },
  ));

test('past its paid time an Instance pauses without anybody telling', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    await world.order('claims', { fulfilment: world.pay(0, { paidThrough: '2026-01-01T00:30:00Z' }) });
    assert.is((await world.instance()).status?.lifecycle, 'Active');
    await world.advance(1_799_000);
    assert.is((await world.instance()).status?.lifecycle, 'Active');
    await world.advance(2_000);
    assert.is(await world.condition('Instance', KEY), 'False/FulfilmentExpired');
    assert.is((await world.instance()).status?.lifecycle, 'Paused');
  } finally {
    await world.close();
  }
});

test('a renewed paid time wakes the Instance at once', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    await world.order('claims', { fulfilment: world.pay(0, { paidThrough: '2026-01-01T00:30:00Z' }) });
    await world.advance(1_801_000);
    assert.is((await world.instance()).status?.lifecycle, 'Paused');
    Object.assign(world.ledger.fulfilments[0] ?? {}, { paidThrough: '2026-02-01T00:30:00Z' });
    await world.settle();
    assert.is((await world.instance()).status?.lifecycle, 'Paused', 'nobody has told it');
    world.ledger.emit('fulfilment.renewed', 'acme.main');
    await world.settle();
    assert.is((await world.instance()).status?.lifecycle, 'Active');
  } finally {
    await world.close();
  }
});

test('a new channel version reaches Manual Instances only by their pin', () =>
  withReady(async (world) => {
    const next = await publishedVersion(world.blobs, 'claims-agent', '1.1.0', { triage: plainCapability() });
    await world.apply('OfferingVersion', { name: 'claims-agent-1.1.0' }, next);
    const { spec: offering } = await world.get('Offering', { name: 'claims-agent' });
    await world.apply('Offering', { name: 'claims-agent' }, { ...offering, channel: '1.1.0' });
    await world.advance(900_000);
    const bound = await world.instance();
    assert.is(bound.status?.version, '1.0.0');
    await world.apply('Instance', KEY, { ...bound.spec, version: '1.1.0' });
    await world.advance(1_000);
    const { status } = await world.instance();
    assert.is(status?.version, '1.1.0');
    assert.is(status?.contractDigest, next.contractDigest);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(status?.commit, world.git.commits.at(-1)?.commit);
    assert.equal(status?.timeline, bound.status?.timeline);
  }));

test('a generated secret is written once and never again', () =>
  withReady(
    async (world) => {
      const { metadata, status } = await world.instance();
      const path = `t/${status?.workloadNamespace}/${metadata.uid}/signing-key`;
      const first = world.secrets.values.get(path);
      assert.match(first?.data.value ?? '', /^[0-9a-f]{24}$/);
      await world.advance(1_800_000);
      assert.equal(world.secrets.values.get(path), first);
      assert.equal(world.secrets.policies.get(`gsv-i-${metadata.uid}`), [
        { path: `t/${status?.workloadNamespace}/${metadata.uid}/*`, capabilities: ['read'] },
      ]);
    },
    { capability: { ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] } },
  ));

test('knowledge that this build does not offer is said and holds nothing up', () =>
  withReady(
    async (world) => {
      assert.is(await world.condition('Instance', KEY, 'KnowledgeReady'), 'False/KnowledgeNotOffered');
      assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    },
    {
      capability: {
        ...plainCapability(),
        knowledge: { embeddingModel: 'bge-m3', limits: { maxDocuments: 10, maxBytes: 1_000_000 } },
      },
    },
  ));
