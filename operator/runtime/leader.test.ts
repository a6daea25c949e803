import { type TestContext, test } from 'node:test';
import * as assert from 'uvu/assert';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { type ResourceStore, StoreError } from '../../crds/store.ts';
import { candidate, StoppableProcess, turns } from '../../hack/testing/operator/candidate.ts';
import { ManualClock } from '../../hack/testing/operator/manual-clock.ts';
import { Deposed, LEADER_TIMES, type Leader, type LeaderOptions } from './leader.ts';

const { leaseMs, renewMs, retryMs } = LEADER_TIMES;
const LEASE = { namespace: 'gsv-system', name: 'gsv-operator' };

class Election {
  readonly clock = new ManualClock();
  readonly store: EmbeddedStore;
  readonly leaders: Leader[] = [];
  #count = 0;

  private constructor(store: EmbeddedStore) {
    this.store = store;
  }

  static async open(t: TestContext): Promise<Election> {
    const election = new Election(await EmbeddedStore.open());
    await election.store.create('Namespace', { metadata: { name: 'gsv-system' }, spec: {} });
    t.after(() => election.store.close());
    return election;
  }

  async enter(more: Partial<LeaderOptions> & { store?: ResourceStore } = {}) {
    const process = new StoppableProcess(this.clock);
    this.#count += 1;
    const leader = candidate(more.store ?? this.store, process, `process-${this.#count}`, more);
    this.leaders.push(leader.start());
    await turns();
    return { leader, process };
  }

  /** Time passes; at no moment more than one may write. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      await this.clock.advance(Math.min(250, left), turns);
      assert.ok(this.writers() <= 1, 'two may write at once');
    }
  }

  writers(): number {
    return this.leaders.filter(mayWrite).length;
  }

  lease() {
    return this.store.get('Lease', LEASE);
  }

  /** One that leads, after the first Lease was sat out. */
  async led() {
    const entered = await this.enter();
    await this.pass(leaseMs + retryMs);
    assert.is(entered.leader.state, 'leading');
    return entered;
  }
}

function mayWrite(leader: Leader): boolean {
  try {
    leader.assert();
    return true;
  } catch (error) {
    assert.instance(error, Deposed);
    return false;
  }
}

test('the first candidate makes the Lease and sits it out once, a second one stands by', async (t) => {
  const election = await Election.open(t);
  const { leader } = await election.enter();
  const second = await election.enter();
  assert.is((await election.lease())?.spec.holderIdentity, 'process-1');
  await election.pass(leaseMs - 1_000);
  assert.is(leader.state, 'standby', 'a leader whose Lease was deleted could still write');
  await election.pass(retryMs + 1_000);
  assert.equal([leader.state, leader.epoch, await leader.elected], ['leading', 1, 1]);
  await election.pass(10 * leaseMs);
  assert.equal([leader.state, second.leader.state], ['leading', 'standby']);
  const { spec, metadata } = (await election.lease()) ?? { spec: {}, metadata: {} };
  assert.is(spec.leaseDurationSeconds, 15);
  assert.match(spec.renewTime ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.is(metadata.annotations?.['store.gsv.dev/epoch'], '1');
});

test('a leader that is released lets the next one in at its next look, with a higher epoch', async (t) => {
  const election = await Election.open(t);
  const first = await election.led();
  const second = await election.enter();
  await election.pass(retryMs);
  await first.leader.release();
  assert.throws(
    () => first.leader.assert(),
    (error: unknown) => error instanceof Deposed,
  );
  assert.is((await election.lease())?.spec.holderIdentity, '');
  await election.pass(2 * retryMs);
  assert.equal([second.leader.state, second.leader.epoch], ['leading', 2]);
  assert.is((await election.lease())?.spec.leaseTransitions, 1);
});

test('a leader that dies is followed when its Lease has not changed for its whole duration', async (t) => {
  const election = await Election.open(t);
  const first = await election.led();
  const second = await election.enter();
  first.process.stop();
  await election.pass(leaseMs - 2 * retryMs);
  assert.is(second.leader.state, 'standby');
  await election.pass(4 * retryMs);
  assert.is(second.leader.state, 'leading');
});

test('a process that stood still may not write when it goes on, before any timer has run', async (t) => {
  const election = await Election.open(t);
  const { leader, process } = await election.led();
  const second = await election.enter();
  process.stop();
  await election.clock.advance(2 * leaseMs, turns);
  assert.is(second.leader.state, 'leading');
  assert.equal([leader.state, leader.signal.aborted], ['leading', false], 'the control: it does not know yet');
  assert.is(mayWrite(leader), false);
  assert.equal([leader.state, leader.signal.aborted], ['deposed', true]);
  process.goOn();
  await election.pass(2 * leaseMs);
  assert.equal([leader.state, second.leader.state], ['deposed', 'leading']);
});

const JUMPS = [
  { name: 'a wall clock that jumps ahead (a machine slept)', wall: renewMs, still: false },
  { name: 'a wall clock that is set back', wall: -3_600_000, still: true },
  { name: 'a wall clock that is corrected a little', wall: 1_000, still: true },
];
for (const { name, wall, still } of JUMPS) {
  test(`${name}: ${still ? 'the leader stays' : 'the leader steps down'}`, async (t) => {
    const election = await Election.open(t);
    let ahead = 0;
    const clock = {
      ...election.clock,
      now: () => election.clock.now() + ahead,
      after: election.clock.after.bind(election.clock),
    };
    const { leader } = await election.enter({ clock, monotonic: () => election.clock.now() });
    await election.pass(leaseMs + retryMs);
    assert.is(leader.state, 'leading');
    ahead = wall;
    assert.is(mayWrite(leader), still);
    await election.pass(leaseMs);
    assert.is(leader.state, still ? 'leading' : 'deposed');
  });
}

test('what the holder’s own clock says is not believed', async (t) => {
  const election = await Election.open(t);
  const spec = {
    holderIdentity: 'somebody',
    leaseDurationSeconds: 15,
    acquireTime: '2000-01-01T00:00:00.000000Z',
    renewTime: '2000-01-01T00:00:00.000000Z',
    leaseTransitions: 6,
  };
  await election.store.create('Lease', { metadata: LEASE, spec });
  const { leader } = await election.enter();
  await election.pass(leaseMs - retryMs);
  assert.is(leader.state, 'standby', 'renewed long ago by its clock, but just seen');
  await election.pass(3 * retryMs);
  assert.equal([leader.state, leader.epoch], ['leading', 7], 'without an epoch the count of holders is the floor');
});

/** A store whose calls go wrong as long as `fault` says so. */
function faulty(store: ResourceStore, fault: (call: string) => 'lost' | 'refused' | 'hangs' | undefined) {
  const pass = async <T>(call: string, run: () => Promise<T>): Promise<T> => {
    const kind = fault(call);
    if (kind === 'refused') throw new StoreError('Unavailable', 'the API server is away');
    if (kind === 'hangs') return new Promise(() => {});
    const result = await run();
    if (kind === 'lost') throw new StoreError('Unavailable', 'the answer was lost');
    return result;
  };
  return {
    get: (...call) => pass('get', () => store.get(...call)),
    create: (...call) => pass('create', () => store.create(...call)),
    apply: (...call) => pass('apply', () => store.apply(...call)),
  } as ResourceStore;
}

test('an answer that was lost changes nothing: of the creation, of a takeover, of a renewal', async (t) => {
  const election = await Election.open(t);
  const lost: string[] = [];
  const once = (call: string) => (from: string) => {
    if (from !== call || lost.includes(call)) return undefined;
    lost.push(call);
    return 'lost' as const;
  };
  const first = await election.enter({ store: faulty(election.store, once('create')) });
  await election.pass(leaseMs + 3 * retryMs);
  assert.equal([first.leader.state, first.leader.epoch], ['leading', 1]);
  await first.leader.release();
  const second = await election.enter({ store: faulty(election.store, once('apply')) });
  await election.pass(3 * retryMs);
  assert.equal([second.leader.state, second.leader.epoch], ['leading', 2]);
  lost.length = 0;
  await election.pass(leaseMs);
  assert.equal([lost, second.leader.state], [['apply'], 'leading']);
});

test('one attempt that hangs is followed by another; when none answers the term ends in time', async (t) => {
  const election = await Election.open(t);
  let hanging = 0;
  const fault = () => (hanging-- > 0 ? ('hangs' as const) : undefined);
  const { leader } = await election.enter({ store: faulty(election.store, fault) });
  await election.pass(leaseMs + retryMs);
  hanging = 1;
  await election.pass(2 * leaseMs);
  assert.equal([leader.state, hanging < 0], ['leading', true]);
  hanging = 1_000;
  let told = 0;
  leader.signal.addEventListener('abort', () => {
    told = election.clock.now();
  });
  const from = election.clock.now();
  await election.pass(renewMs);
  assert.is(leader.state, 'deposed');
  assert.ok(told - from <= renewMs, 'the signal came in time');
});

test('an API server that refuses for less than the renewal time costs nothing', async (t) => {
  const election = await Election.open(t);
  let away = false;
  const { leader } = await election.enter({ store: faulty(election.store, () => (away ? 'refused' : undefined)) });
  await election.pass(leaseMs + retryMs);
  away = true;
  await election.pass(renewMs - 2 * retryMs - 1_000);
  away = false;
  await election.pass(leaseMs);
  assert.is(leader.state, 'leading');
});

test('a Lease that is deleted ends the term, and nobody writes before the old proof is too old', async (t) => {
  const election = await Election.open(t);
  const first = await election.led();
  const second = await election.enter();
  first.process.stop();
  await election.store.delete('Lease', LEASE);
  await election.pass(2 * retryMs);
  assert.is((await election.lease())?.spec.holderIdentity, 'process-2');
  assert.equal([mayWrite(first.leader), second.leader.state], [true, 'standby']);
  await election.pass(leaseMs + retryMs);
  assert.is(second.leader.state, 'leading');
  first.process.goOn();
  await turns();
  assert.is(first.leader.state, 'deposed');
});

test('a Lease that somebody else annotates stays ours; one that was deleted is not made again by its holder', async (t) => {
  const election = await Election.open(t);
  const { leader } = await election.led();
  const present = await election.lease();
  if (present === undefined) throw new Error('there is no Lease');
  const metadata = { ...LEASE, annotations: { 'example.com/note': 'x' } };
  await election.store.apply('Lease', { metadata, spec: present.spec }, { fieldManager: 'a-person' });
  await election.pass(leaseMs);
  assert.is(leader.state, 'leading');
  await election.store.delete('Lease', LEASE);
  await election.pass(2 * retryMs);
  assert.is(leader.state, 'deposed');
  assert.is(await election.lease(), undefined);
});

test('every term has a higher epoch, also one that was raised', async (t) => {
  const election = await Election.open(t);
  const epochs: number[] = [];
  for (let term = 0; term < 5; term += 1) {
    const { leader } = await election.enter();
    await election.pass(leaseMs + retryMs);
    epochs.push(await leader.elected);
    if (term === 2) await leader.raise(40);
    else await leader.release();
  }
  assert.equal(epochs, [1, 2, 3, 41, 42]);
});

test('a candidate that is released never leads, and who waits for it is told', async (t) => {
  const election = await Election.open(t);
  await election.led();
  const second = await election.enter();
  await second.leader.release();
  assert.instance(await second.leader.elected.catch((error: unknown) => error), Deposed);
  await election.pass(3 * leaseMs);
  assert.is(second.leader.state, 'released');
  assert.is(second.leader.depose('too late').name, 'Deposed');
  assert.is(second.leader.state, 'released');
});
