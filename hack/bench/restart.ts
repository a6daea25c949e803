import { createLogger } from '../../config/log.ts';
import { findCondition } from '../../crds/conditions.ts';
import { type Kind, organizationNamespace } from '../../crds/kinds.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import type { Desired, Key, ResourceStore } from '../../crds/store.ts';
import type { Fulfilment } from '../../ledger/client.ts';
import type { DeliveryState } from '../../operator/delivery/delivery.ts';
import type { GitWriter } from '../../operator/git/writer.ts';
import { type Operator, startOperator } from '../../operator/operator.ts';
import { defaultPlatform } from '../../operator/render/platform.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { Leader } from '../../operator/runtime/leader.ts';
import { GitRemote } from '../testing/git-remote.ts';
import { plainCapability, publishedVersion } from '../testing/operator/catalog.ts';
import { FakeLedger } from '../testing/operator/fake-ledger.ts';
import { FakeBlobs, FakeDelivery, FakeGit, FakeProbe, FakeSecrets } from '../testing/operator/fakes.ts';

/** Instances in one Organization. */
const PER_ORGANIZATION = 100;
const LEASES = 'gsv-system';
const POLL_MS = 20;
/** Then they are not Ready, and that is said. */
const COUNT_LOOKS = 300;
/** Idle at so many looks in a row: what one visit wakes has had its turn. */
const QUIET = 5;
const CHANGING = /^(create|apply|applyStatus|setFinalizers|annotate|terminateOperation|delete)$/;
const SHOP = { shop: 'https://shop.example.com/graphql/', order: 'T3JkZXI6MQ==', line: 'TGluZTox' };

/** What a start did that had nothing to do. */
export interface Restart {
  milliseconds: number;
  cpuMilliseconds: number;
}

/** The fake scans its list; a ledger has an index, and at 10,000 the scan would be the measurement. */
class IndexedLedger extends FakeLedger {
  readonly #units = new Map<string, Fulfilment>();

  override pay(unit: Parameters<FakeLedger['pay']>[0]): Fulfilment {
    const made = super.pay(unit);
    this.#units.set(`${made.line} ${made.ordinal}`, made);
    return made;
  }

  override async findFulfilments(query: Partial<Fulfilment>): Promise<Fulfilment[]> {
    const found = this.#units.get(`${query.line} ${query.ordinal}`);
    return found === undefined ? [] : [{ ...found }];
  }
}

/** Applies at once whatever is in Git. */
class PromptDelivery extends FakeDelivery {
  override async state(): Promise<DeliveryState> {
    return { synced: true, reason: 'LocalDelivery', message: 'Applied.' };
  }
}

/** A control plane on the embedded store with a real Git writer, and fakes for what lies outside. */
class Plant {
  readonly store: EmbeddedStore;
  readonly remote: GitRemote;
  readonly ledger = new IndexedLedger();
  readonly #blobs = new FakeBlobs();
  readonly #secrets = new FakeSecrets();
  readonly writes: string[] = [];
  #digest = '';
  #process: { operator: Operator; git: GitWriter } | undefined;

  constructor(store: EmbeddedStore, remote: GitRemote) {
    this.store = store;
    this.remote = remote;
  }

  /** Starts a new process's worth of operator, and returns when it has nothing to do any more. */
  async start(): Promise<void> {
    const git = await this.remote.writer();
    const log = createLogger({ part: 'operator', level: 'silent' });
    const store = counted(this.store, this.writes);
    const identity = `bench-${this.writes.length}`;
    const leader = new Leader({
      store,
      namespace: LEASES,
      name: 'gsv-operator',
      identity,
      clock: systemClock,
      monotonic: () => performance.now(),
      random: Math.random,
      log,
    });
    const operator = startOperator({
      store,
      git,
      log,
      leader,
      ledger: this.ledger,
      secrets: this.#secrets,
      blobs: this.#blobs,
      delivery: new PromptDelivery(new FakeGit()),
      probe: new FakeProbe(() => ({ ok: true, contractDigest: this.#digest, secrets: [] })),
      settings: {
        publicUrl: 'https://store.example.com',
        platform: defaultPlatform('https://git.example.com/r.git', 'main'),
      },
    });
    this.#process = { operator, git };
    await operator.ready;
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET; quiet = this.#process?.operator.idle() ? quiet + 1 : 0)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  async stop(): Promise<void> {
    await this.#process?.operator.close();
    await this.#process?.git.close();
    this.#process = undefined;
  }

  /** Catalog, Organizations, and paid Instances in all of them. */
  async populate(count: number): Promise<void> {
    const apply = <K extends Kind>(kind: K, desired: Desired<K>) =>
      this.store.apply(kind, desired, { fieldManager: 'bench' });
    const capability = plainCapability();
    await apply('Capability', { metadata: { name: 'triage' }, spec: capability });
    const title = 'Claims Agent';
    const offering = { category: 'Agent', display: { title }, lifecycle: 'Published', channel: '1.0.0' } as const;
    await apply('Offering', { metadata: { name: 'claims-agent' }, spec: offering });
    const version = await publishedVersion(this.#blobs, 'claims-agent', '1.0.0', { triage: capability });
    this.#digest = version.contractDigest ?? '';
    await apply('OfferingVersion', { metadata: { name: 'claims-agent-1.0.0' }, spec: version });
    const organizations = Array.from({ length: Math.ceil(count / PER_ORGANIZATION) }, (_, at) => `org-${at}`);
    for (const name of organizations)
      await apply('Organization', { metadata: { name }, spec: { display: { title: name } } });
    await this.settle();
    for (const name of organizations) {
      const namespace = organizationNamespace(name);
      await apply('Project', { metadata: { namespace, name: 'default' }, spec: {} });
      await apply('Wallet', { metadata: { namespace, name: 'main' }, spec: {} });
    }
    for (let ordinal = 0; ordinal < count; ordinal += 1) {
      const organization = organizations[ordinal % organizations.length] ?? '';
      const fulfilment = { ...SHOP, ordinal };
      const unit = { ...fulfilment, wallet: `${organization}.main`, offering: 'claims-agent', plan: 'starter' };
      this.ledger.pay(unit);
      await apply('Instance', { metadata: instanceKey(ordinal, organizations.length), spec: spec(fulfilment) });
    }
    await this.settle();
    // The Offering counts its Instances some seconds later.
    const ready = async () => (await this.store.get('Offering', { name: 'claims-agent' }))?.status?.instances?.ready;
    for (let look = 0; (await ready()) !== count && look < COUNT_LOOKS; look += 1) await this.settle();
  }

  /** @throws Error unless every Instance is Ready */
  async assertReady(count: number): Promise<void> {
    const instances = await this.store.list('Instance');
    const ready = instances.filter(({ status }) => findCondition(status?.conditions, 'Ready')?.status === 'True');
    if (ready.length === count) return;
    const broken = instances.find((each) => !ready.includes(each));
    throw new Error(`${ready.length} of ${count} are Ready: ${JSON.stringify(broken?.status?.conditions)}`);
  }
}

/** Starts of the whole operator over `count` Instances that are as they should be. @throws Error when one writes */
export async function restarts(count: number, rounds: number): Promise<Restart[]> {
  const store = await EmbeddedStore.open();
  await using remote = await GitRemote.create();
  const plant = new Plant(store, remote);
  await store.apply('Namespace', { metadata: { name: LEASES }, spec: {} }, { fieldManager: 'bench' });
  await plant.start();
  await plant.populate(count);
  await plant.assertReady(count);
  await plant.stop();
  const tree = (): Promise<string> => remote.git('log', '--format=%T', '-1', 'main');
  const content = async (): Promise<string[]> =>
    (await remote.git('log', '--format=%s', 'main')).split('\n').filter((subject) => !/^Epoch \d+/.test(subject));
  const before = { tree: await tree(), commits: (await content()).length };
  const found: Restart[] = [];
  for (let round = 0; round < rounds; round += 1) {
    plant.writes.length = 0;
    const [began, used] = [performance.now(), process.cpuUsage()];
    await plant.start();
    const { user, system } = process.cpuUsage(used);
    found.push({ milliseconds: performance.now() - began, cpuMilliseconds: (user + system) / 1000 });
    await plant.stop();
    const others = plant.writes.filter((write) => !write.includes(' Lease '));
    if (others.length > 0) throw new Error(`a restart wrote ${others.length} times: ${others.slice(0, 5).join(', ')}`);
    if ((await tree()) !== before.tree || (await content()).length !== before.commits)
      throw new Error('a restart committed content');
  }
  await store.close();
  return found;
}

function instanceKey(ordinal: number, organizations: number): Required<Key> {
  return { namespace: organizationNamespace(`org-${ordinal % organizations}`), name: `claims-${ordinal}` };
}

function spec(fulfilment: typeof SHOP & { ordinal: number }) {
  return {
    projectRef: { name: 'default' },
    offeringRef: { name: 'claims-agent' },
    plan: 'starter',
    walletRef: { name: 'main' },
    config: {},
    fulfilment,
  };
}

/** Notes every write. */
function counted(store: ResourceStore, writes: string[]): ResourceStore {
  return new Proxy(store, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      return (...given: [string, Key & { metadata?: Key }]) => {
        if (CHANGING.test(String(property)))
          writes.push(`${String(property)} ${given[0]} ${given[1].metadata?.name ?? given[1].name}`);
        return member.apply(target, given);
      };
    },
  });
}
