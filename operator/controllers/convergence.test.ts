import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { plainCapability, publishedVersion, secretCapability } from '../../hack/testing/operator/catalog.ts';
import { CrashPlan } from '../../hack/testing/operator/crash.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };
/** Longer than any fixed delay or first backoff of a rung. */
const RECOVERY_MS = 120_000;

const generatedOnly = () => ({ ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] });

interface Scenario {
  name: string;
  /** Terms of the version. */
  version?: Parameters<typeof publishedVersion>[4];
  /** Brings the world to where the change begins. */
  before: (world: World) => Promise<void>;
  change: (world: World) => Promise<void>;
  /** What takes its time also takes it after a crash. Milliseconds. */
  settleMs?: number;
  /** How often it has to be looked at again after that. Absent: once. */
  looks?: number;
}

const ordered = async (world: World) => {
  await world.order('claims', { fulfilment: world.pay() });
};

const SCENARIOS: Scenario[] = [
  { name: 'create', before: async () => {}, change: ordered },
  {
    name: 'update',
    before: ordered,
    change: async (world) => {
      const { spec } = await world.instance();
      await world.apply('Instance', KEY, { ...spec, config: { tone: 'brisk' } });
    },
  },
  {
    name: 'suspend',
    before: ordered,
    change: async (world) => {
      const { spec } = await world.instance();
      await world.apply('Instance', KEY, { ...spec, suspend: true });
    },
  },
  {
    name: 'upgrade',
    before: async (world) => {
      await ordered(world);
      const next = await publishedVersion(world.blobs, 'claims-agent', '1.1.0', { triage: generatedOnly() });
      await world.apply('OfferingVersion', { name: 'claims-agent-1.1.0' }, next);
    },
    change: async (world) => {
      const { spec } = await world.instance();
      await world.apply('Instance', KEY, { ...spec, version: '1.1.0' });
    },
  },
  {
    name: 'resume',
    before: async (world) => {
      await world.order('claims', { fulfilment: world.pay() });
      const { spec } = await world.instance();
      await world.apply('Instance', KEY, { ...spec, suspend: true });
    },
    change: async (world) => {
      const { suspend: _paused, ...spec } = (await world.instance()).spec;
      await world.apply('Instance', KEY, { ...spec, config: { tone: 'brisk' } });
    },
  },
  {
    name: 'terminate',
    version: {
      exhaustion: [
        { action: 'Pause', afterSeconds: 0 },
        { action: 'Terminate', afterSeconds: 60 },
      ],
    },
    before: ordered,
    change: async (world) => {
      const [unit] = world.ledger.fulfilments;
      if (unit) unit.paidThrough = '2026-01-01T00:00:00Z';
      await world.advance(1_800_000);
    },
  },
  {
    name: 'delete with a run that never ends',
    before: async (world) => {
      await ordered(world);
      world.ledger.holds.set('hold_1', (await world.instance()).metadata.uid);
    },
    change: async (world) => {
      await world.delete('Instance', KEY);
      await world.advance(600_000);
    },
  },
  {
    name: 'upgrade that is taken back',
    settleMs: 300_000,
    before: async (world) => {
      await ordered(world);
      const next = await publishedVersion(world.blobs, 'claims-agent', '1.1.0', { triage: generatedOnly() });
      await world.apply('OfferingVersion', { name: 'claims-agent-1.1.0' }, next);
      const { reply } = world.probe;
      world.probe.reply = (organization, name) => {
        const bound = world.store.watch('Instance').get({ namespace: NS, name })?.status?.version;
        return bound === '1.1.0' ? { ok: false, code: 'artifact_corrupt', detail: 'no.' } : reply(organization, name);
      };
    },
    change: async (world) => {
      const { spec } = await world.instance();
      await world.apply('Instance', KEY, { ...spec, version: '1.1.0' });
      await world.advance(1_000);
      world.clock.leap(300_000);
      await world.advance(5_000);
    },
  },
  {
    name: 'fleet rollout',
    before: async (world) => {
      await world.order('claims', { fulfilment: world.pay(), upgradePolicy: 'Automatic' });
      await world.order('other', { fulfilment: world.pay(1), upgradePolicy: 'Automatic' });
      const next = await publishedVersion(world.blobs, 'claims-agent', '1.1.0', { triage: generatedOnly() });
      await world.apply('OfferingVersion', { name: 'claims-agent-1.1.0' }, next);
    },
    change: async (world) => {
      const { spec } = await world.get('Offering', { name: 'claims-agent' });
      await world.apply('Offering', { name: 'claims-agent' }, { ...spec, channel: '1.1.0' });
      await world.advance(400_000);
    },
    settleMs: 400_000,
    looks: 3,
  },
  {
    name: 'rotate',
    settleMs: 3_600_000,
    before: ordered,
    change: async (world) => {
      await world.annotate({ 'store.gsv.dev/rotate-requested-at': '2026-01-01T00:00:00Z' });
      await world.advance(1_800_000);
    },
  },
  { name: 'delete', before: ordered, change: async (world) => world.delete('Instance', KEY) },
];

/** Everything that a user, the ledger, Git and the secret store can see, without what is random by nature. */
async function picture(world: World) {
  const instance = await world.store.get('Instance', KEY);
  const { status } = instance ?? {};
  const offering = await world.get('Offering', { name: 'claims-agent' });
  const { startedTime: _started, ...rollout } = offering.status?.rollout ?? {};
  const fleet = await world.store.list('Instance', { namespace: NS });
  return {
    rollout: offering.status?.rollout && { ...rollout, admittedThrough: undefined },
    fleet: fleet.map((each) => `${each.metadata.name} ${each.status?.version} ${each.status?.upgrade?.phase}`),
    lifecycle: status?.lifecycle,
    effective: status?.effective && `${status.effective.state}/${status.effective.cause}`,
    observed: status?.observedGeneration,
    version: status?.version,
    upgrade: status?.upgrade && `${status.upgrade.from} ${status.upgrade.to} ${status.upgrade.phase}`,
    config: instance?.spec.config,
    conditions: status?.conditions?.map(({ type, status: value, reason }) => `${type} ${value} ${reason}`),
    timeline: Object.keys(status?.timeline ?? {}).sort(),
    finalizers: instance?.metadata.finalizers,
    claimed: world.ledger.fulfilments.map(({ instanceUid }) => instanceUid !== undefined),
    // Which of two goes first depends on their uids.
    commits:
      fleet.length > 1
        ? world.git.commits.map(({ subject }) => subject).sort()
        : world.git.commits.map(({ subject }) => subject),
    files: [...world.git.files.keys()].map((path) => path.replace(/-[0-9a-f]{8}(?=[/.])/, '')).sort(),
    secrets: [...world.secrets.values].map(([path, { version }]) => `${path.split('/').at(-1)} ${version}`),
    rotation: status?.rotation && [
      status.rotation.phase,
      status.rotation.requestedAt,
      status.rotation.secrets?.map(({ name, from, to }) => `${name} ${from} ${to}`),
    ],
    destroyed: world.secrets.destroyed.map((each) => each.split('/').at(-1)),
    policies: world.secrets.policies.size,
    holds: world.ledger.holds.size,
    voids: world.ledger.voids.length,
  };
}

type Crash = { at: number; when: 'before' | 'after' };

async function run(
  { before, change, version, settleMs = 0, looks = 1 }: Scenario,
  crash?: Crash,
  sabotage: (world: World) => void = () => {},
) {
  const world = await World.open();
  const plan = new CrashPlan();
  try {
    await world.start();
    await world.catalog({ capability: generatedOnly(), ...(version ? { version } : {}) });
    await before(world);
    await world.advance(RECOVERY_MS);
    await world.stop();
    await world.start(plan.wrap);
    sabotage(world);
    plan.arm(crash?.at ?? Number.POSITIVE_INFINITY, crash?.when ?? 'before');
    await change(world);
    await world.advance(RECOVERY_MS);
    const effects = [...plan.effects];
    await world.stop();
    await world.start();
    for (let look = 0; look < looks; look++) {
      world.clock.leap(settleMs);
      await world.advance(RECOVERY_MS);
    }
    return { picture: await picture(world), effects, died: plan.dead };
  } finally {
    await world.close();
  }
}

for (const scenario of SCENARIOS) {
  test(`killed before and after every effect of ${scenario.name}, it converges to the same end`, async (t) => {
    const calm = await run(scenario);
    assert.is(calm.died, false);
    assert.ok(calm.effects.length > 0);
    for (let at = 1; at <= calm.effects.length; at++)
      for (const when of ['before', 'after'] as const) {
        const crashed = await run(scenario, { at, when });
        assert.is(crashed.died, true, `the fault ${when} effect ${at} did not fire`);
        assert.equal(crashed.picture, calm.picture, `died ${when} effect ${at}, ${calm.effects[at - 1]}`);
      }
    t.diagnostic(`${calm.effects.length} effects, ${calm.effects.length * 2} crashes: ${calm.effects.join(', ')}`);
  });
}

test('the comparison is not blind: a writer that commits twice what is there is caught', async () => {
  const [create] = SCENARIOS;
  if (create === undefined) throw new Error('there is no scenario');
  const calm = await run(create);
  const at = calm.effects.indexOf('git.commit') + 1;
  const crashed = await run(create, { at, when: 'after' }, (world) => {
    world.git.careless = true;
  });
  assert.is(crashed.died, true);
  assert.not.equal(crashed.picture.commits, calm.picture.commits);
});

test('a restart that finds nothing to do writes nothing', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability: secretCapability() });
    await world.order('claims', { fulfilment: world.pay() });
    await world.order('broken', { plan: 'gold' });
    await world.order('paused', { fulfilment: world.pay(1), suspend: true });
    await world.apply('CreditPack', { name: 'pack' }, { sku: 'PACK', amountMicrocredits: 1, kind: 'Purchased' });
    await world.advance(RECOVERY_MS);
    await world.stop();
    const commits = world.git.commits.length;
    world.writes.length = 0;
    await world.start();
    await world.advance(1_800_000);
    assert.equal(world.writes, []);
    assert.is(world.git.commits.length, commits);
  } finally {
    await world.close();
  }
});

test('everything at once, in the wrong order, and twice, ends as in the right order', async () => {
  const world = await World.open();
  try {
    await world.start();
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: plainCapability() });
    await world.apply('OfferingVersion', { name: 'claims-agent-1.0.0' }, spec);
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    const claim = world.pay();
    await world.order('claims', { fulfilment: claim });
    assert.is(await world.condition('Instance', KEY), 'False/ProjectNotFound');
    for (let twice = 0; twice < 2; twice++) {
      await world.apply('Wallet', { namespace: NS, name: 'main' }, {});
      await world.apply('Project', { namespace: NS, name: 'default' }, {});
      await world.apply('Capability', { name: 'triage' }, plainCapability());
      await world.apply(
        'Offering',
        { name: 'claims-agent' },
        {
          category: 'Agent',
          display: { title: 'Claims Agent' },
          lifecycle: 'Published',
          channel: '1.0.0',
        },
      );
      await world.order('claims', { fulfilment: claim });
    }
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(await world.condition('Offering', { name: 'claims-agent' }), 'True/Succeeded');
    assert.is(world.git.commits.filter(({ subject }) => subject.startsWith('Instance')).length, 1);
  } finally {
    await world.close();
  }
});
