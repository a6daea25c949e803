import { createHash } from 'node:crypto';
import { createLogger } from '../../../config/log.ts';
import { findCondition } from '../../../crds/conditions.ts';
import type { CapabilitySpec, InstanceSpec, OfferingSpec } from '../../../crds/generated/kinds.ts';
import { type Kind, type KindMap, organizationNamespace } from '../../../crds/kinds.ts';
import { EmbeddedStore } from '../../../crds/store/embedded.ts';
import { type Key, keyText, type ResourceStore } from '../../../crds/store.ts';
import { type Operator, startOperator } from '../../../operator/operator.ts';
import type { Ports } from '../../../operator/ports.ts';
import { defaultPlatform } from '../../../operator/render/platform.ts';
import { plainCapability, publishedVersion } from './catalog.ts';
import { FakeLedger } from './fake-ledger.ts';
import { FakeBlobs, FakeDelivery, FakeGit, FakeProbe, FakeSecrets } from './fakes.ts';
import { ManualClock } from './manual-clock.ts';
import { Watch } from './watchful.ts';

/** Turns of the event loop with nothing to do before the operator counts as settled. */
const QUIET_TURNS = 6;
/** After this many turns somebody waits for a real program (git): give it time instead of spinning. */
const SPIN_TURNS = 200;
const PAUSE_MS = 2;
/** Far more than any visit needs; a loop that never ends is a failure, not a hang. */
const MAX_TURNS = 15_000;

export const NS = organizationNamespace('acme');

/** What every operator of a world is told of its installation. */
export const SETTINGS = {
  publicUrl: 'https://store.example.com',
  platform: {
    ...defaultPlatform('https://git.example.com/gsv.git', 'main'),
    runtime: { image: `mirror.example.com/lfx@sha256:${'5'.repeat(64)}` },
  },
};

type Doors = Pick<Ports, 'store' | 'ledger' | 'secrets' | 'blobs' | 'git' | 'delivery' | 'probe'>;

/** A whole control plane on fakes and the real embedded store, with time in the test's hands. */
export class World {
  readonly clock = new ManualClock();
  readonly ledger = new FakeLedger();
  readonly secrets = new FakeSecrets();
  readonly blobs = new FakeBlobs();
  readonly git = new FakeGit();
  readonly delivery = new FakeDelivery(this.git);
  readonly probe: FakeProbe;
  readonly store: EmbeddedStore;
  /** Writes of the operator to the store, newest last. */
  readonly writes: string[] = [];
  /** Every status that the operator writes obeys the rules of custom resources; else `settle` and `close` reject. */
  readonly watch = new Watch(() => [...this.secrets.values.values()].flatMap(({ data }) => Object.values(data)));
  #operator: Operator | undefined;

  private constructor(store: EmbeddedStore) {
    this.store = store;
    this.probe = new FakeProbe((organization, instance) => ({
      ok: true,
      contractDigest: this.#digestOf(organization, instance),
      secrets: this.#secretsOf(organization, instance),
    }));
    this.secrets.now = () => new Date(this.clock.now()).toISOString();
  }

  /** @param seed given: uids depend on it and on the names alone, and with them what is chosen by uid */
  static async open(seed?: number): Promise<World> {
    const holder: { world?: World } = {};
    const now = () => new Date(holder.world?.clock.now() ?? 0);
    const store = await EmbeddedStore.open(seed === undefined ? { now } : { now, uid: namedUids(seed) });
    const world = new World(store);
    holder.world = world;
    return world;
  }

  /** Starts an operator, by default on the world's own doors. */
  async start(wrap: (doors: Doors) => Doors = (doors) => doors): Promise<void> {
    const { ledger, secrets, blobs, git, delivery, probe } = this;
    const store = counted(this.watch.over(this.store), this.writes);
    const doors = wrap({ store, ledger, secrets, blobs, git, delivery, probe });
    this.#operator = startOperator({
      ...doors,
      settings: SETTINGS,
      log: createLogger({ part: 'operator', level: 'silent' }),
      clock: this.clock,
      random: () => 0.5,
    });
    await this.#operator.ready;
    await this.settle();
  }

  async stop(): Promise<void> {
    await this.#operator?.close();
    this.#operator = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    await this.store.close();
    this.watch.assertConforms();
  }

  /** Lets everything happen that happens without time passing. */
  settle = async (): Promise<void> => {
    let quiet = 0;
    for (let turn = 0; quiet < QUIET_TURNS; turn++) {
      if (turn > MAX_TURNS) throw new Error('the operator does not come to rest');
      await new Promise((resolve) => (turn < SPIN_TURNS ? setImmediate(resolve) : setTimeout(resolve, PAUSE_MS)));
      quiet = this.#operator?.idle() === false ? 0 : quiet + 1;
      // A delay of nothing is due at once.
      if (this.clock.step(0)) quiet = 0;
    }
    this.watch.assertConforms();
  };

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms, this.settle);
  }

  async apply<K extends Kind>(kind: K, key: Key, spec: KindMap[K]['spec']): Promise<KindMap[K]> {
    const applied = await this.store.apply(kind, { metadata: key, spec }, { fieldManager: 'test' });
    this.watch.applied(kind, applied);
    await this.settle();
    return applied;
  }

  /** Sets the annotations of an Instance, its spec as it is. */
  async annotate(annotations: Record<string, string>, name = 'claims'): Promise<void> {
    const key = { namespace: NS, name };
    const { spec } = await this.instance(name);
    await this.store.apply('Instance', { metadata: { ...key, annotations }, spec }, { fieldManager: 'test' });
    await this.settle();
  }

  async delete(kind: Kind, key: Key): Promise<void> {
    await this.store.delete(kind, key);
    await this.settle();
  }

  async get<K extends Kind>(kind: K, key: Key): Promise<KindMap[K]> {
    const object = await this.store.get(kind, key);
    if (object === undefined) throw new Error(`there is no ${kind} ${key.name}`);
    return object;
  }

  instance(name = 'claims') {
    return this.get('Instance', { namespace: NS, name });
  }

  /** `status/reason` of a condition of an object; `-` when it has none. */
  async condition(kind: Kind, key: Key, type: Parameters<typeof findCondition>[1] = 'Ready'): Promise<string> {
    const { status } = await this.get(kind, key);
    const found = findCondition(status?.conditions as Parameters<typeof findCondition>[0], type);
    return found === undefined ? '-' : `${found.status}/${found.reason}`;
  }

  /** Organization acme with a Project, a Wallet and the offering `claims-agent` 1.0.0. */
  async catalog(
    options: {
      capability?: CapabilitySpec;
      version?: Parameters<typeof publishedVersion>[4];
      offering?: Partial<OfferingSpec>;
    } = {},
  ): Promise<void> {
    const capability = options.capability ?? plainCapability();
    await this.apply('Capability', { name: 'triage' }, capability);
    const offering: OfferingSpec = {
      category: 'Agent',
      display: { title: 'Claims Agent' },
      lifecycle: 'Published',
      channel: '1.0.0',
      ...options.offering,
    };
    await this.apply('Offering', { name: 'claims-agent' }, offering);
    const spec = await publishedVersion(this.blobs, 'claims-agent', '1.0.0', { triage: capability }, options.version);
    await this.apply('OfferingVersion', { name: 'claims-agent-1.0.0' }, spec);
    await this.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    await this.apply('Project', { namespace: NS, name: 'default' }, {});
    await this.apply('Wallet', { namespace: NS, name: 'main' }, {});
  }

  /** A paid unit in the ledger, and the claim on it. */
  pay(ordinal = 0, overrides: Partial<Parameters<FakeLedger['pay']>[0]> = {}): NonNullable<InstanceSpec['fulfilment']> {
    const claim = { shop: 'https://shop.example.com/graphql/', order: 'T3JkZXI6MQ==', line: 'TGluZTox', ordinal };
    this.ledger.pay({ ...claim, wallet: 'acme.main', offering: 'claims-agent', plan: 'starter', ...overrides });
    return claim;
  }

  order(name = 'claims', overrides: Partial<InstanceSpec> = {}): Promise<KindMap['Instance']> {
    return this.apply(
      'Instance',
      { namespace: NS, name },
      {
        projectRef: { name: 'default' },
        offeringRef: { name: 'claims-agent' },
        plan: 'starter',
        walletRef: { name: 'main' },
        config: {},
        ...overrides,
      },
    );
  }

  /** What a run would read now. */
  #secretsOf(organization: string, name: string): { name: string; version: number }[] {
    const key = { namespace: organizationNamespace(organization), name };
    const uid = this.store.watch('Instance').get(key)?.metadata.uid;
    return [...this.secrets.values]
      .filter(([path]) => path.split('/')[2] === uid)
      .map(([path, { version }]) => ({ name: path.split('/')[3] ?? '', version }));
  }

  #digestOf(organization: string, name: string): string {
    const key = { namespace: organizationNamespace(organization), name };
    const instance = this.store.watch('Instance').get(key);
    const offering = instance?.spec.offeringRef.name ?? '';
    const channel = this.store.watch('Offering').get({ name: offering })?.spec.channel;
    // As the runner: what the Instance is bound to, before the first status what it will be.
    const version = instance?.status?.version ?? instance?.spec.version ?? channel;
    return this.store.watch('OfferingVersion').get({ name: `${offering}-${version}` })?.spec.contractDigest ?? '';
  }
}

/** The n-th object of a name has the same uid in every run of the seed. */
function namedUids(seed: number): (kind: Kind, key: Key) => string {
  const made = new Map<string, number>();
  return (kind, key) => {
    const name = `${kind} ${keyText(key)}`;
    const nth = (made.get(name) ?? 0) + 1;
    made.set(name, nth);
    const hex = createHash('sha256').update(`${seed} ${name} ${nth}`).digest('hex');
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(12, 15)}`,
      `8${hex.slice(15, 18)}`,
      hex.slice(18, 30),
    ].join('-');
  };
}

/** Notes every write that goes through to the store. */
function counted(store: ResourceStore, writes: string[]): ResourceStore {
  const note = (call: string, kind: Kind, name: string) => writes.push(`${call} ${kind} ${name}`);
  return {
    get: (kind, key) => store.get(kind, key),
    list: (kind, options) => store.list(kind, options),
    watch: (kind, selection) => store.watch(kind, selection),
    close: async () => {},
    create: (kind, desired) => {
      note('create', kind, desired.metadata.name);
      return store.create(kind, desired);
    },
    apply: (kind, desired, options) => {
      note('apply', kind, desired.metadata.name);
      return store.apply(kind, desired, options);
    },
    applyStatus: (kind, key, status, options) => {
      note('status', kind, key.name);
      return store.applyStatus(kind, key, status, options);
    },
    setFinalizers: (kind, key, finalizers, options) => {
      note('finalizers', kind, key.name);
      return store.setFinalizers(kind, key, finalizers, options);
    },
    annotate: (kind, key, annotations) => {
      note('annotate', kind, key.name);
      return store.annotate(kind, key, annotations);
    },
    terminateOperation: (kind, key, options) => {
      note('terminate', kind, key.name);
      return store.terminateOperation(kind, key, options);
    },
    delete: (kind, key, options) => {
      note('delete', kind, key.name);
      return store.delete(kind, key, options);
    },
  };
}
