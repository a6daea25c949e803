import { after, before, describe, test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Delivery, DeliveryEvent, DeliveryTarget } from './delivery.ts';

/** A delivery, and somebody who commits to its repository. */
export interface DeliveryBench {
  delivery: Delivery;
  /** Commits the manifests of an Instance of the one Project; another `tone` is another content. */
  commit(name: string, tone: string): Promise<DeliveryTarget>;
  /** Commits what cannot be applied, for the given reason. */
  commitFaulty(name: string): Promise<DeliveryTarget>;
  /** Takes the reason away where it lies outside of the manifests. */
  mend(): void;
  /** Removes the Instance from the branch. @returns the commit of the removal */
  remove(name: string): Promise<string>;
  /** Lets time pass, with hints as the operator gives them, until `holds`. @throws when it never does */
  until(what: string, target: DeliveryTarget, holds: () => Promise<boolean>): Promise<void>;
  /** Hints that have arrived at the other side. Absent: there is none. */
  hints?: () => number;
  /** The other side is away, or back. Absent: cannot be brought about. */
  away?: (is: boolean) => void;
  /** Commits the same once more, in place of a commit that was given up. Absent: nothing is ever given up. */
  again?: (name: string, force: string) => Promise<DeliveryTarget>;
  /** Somebody removes an object of the Instance as soon as it is applied, in the middle of its sync. Absent: there is no middle. */
  loseObject?: (name: string) => void;
  /** The secrets of an Instance cannot be read, or can. Absent: nothing is started that could need them. */
  hideSecrets?: (name: string, is: boolean) => void;
  close(): Promise<void>;
}

/** More callers than visits at once. */
const CALLERS = 20;
const NEVER = '0'.repeat(40);
/** Of a message: what is another at every try. */
const UNSTEADY = /[0-9a-f]{40}|\d{4}-\d\d-\d\dT|\d\d:\d\d/;

/** The promises of the delivery port. Where `lags` somebody else does the work, some time after the commit. */
export function deliveryContract(
  name: string,
  open: () => Promise<DeliveryBench>,
  { lags = false }: { lags?: boolean } = {},
): void {
  describe(`delivery contract: ${name}`, () => {
    let bench: DeliveryBench;
    before(async () => {
      bench = await open();
    });
    after(() => bench?.close());

    const synced = (target: DeliveryTarget) =>
      bench.until(`${target.instance} is synced`, target, async () => (await bench.delivery.state(target)).synced);

    test('what was never committed is not synced and has left nothing', async () => {
      const there = await bench.commit('there', 'calm');
      const target = { ...there, instance: 'never', instanceUid: 'never-uid', commit: NEVER, objects: [] };
      const state = await bench.delivery.state(target);
      assert.is(state.synced, false);
      assertWords(state);
      await synced(there);
      // Of nothing that ever was, only the commit of its removal can be known.
      assert.is(await bench.delivery.remains({ ...target, commit: there.commit }), undefined);
    });

    test('a hint may be given by many at once, again and again, also of what never was', async () => {
      const target = await bench.commit('hinted', 'calm');
      const before = bench.hints?.() ?? 0;
      for (let round = 0; round < 3; round++)
        await Promise.all(Array.from({ length: CALLERS }, () => bench.delivery.refresh(target)));
      await bench.delivery.refresh({ ...target, commit: NEVER });
      await bench.delivery.refresh({ organization: 'nobody', project: 'never', commit: NEVER });
      assert.ok((bench.hints?.() ?? 0) - before <= 3, `${bench.hints?.()} hints`);
      await synced(target);
    });

    test('a commit is synced once it is applied, and the same question has the same answer', async () => {
      const target = await bench.commit('plain', 'calm');
      if (lags) assert.is((await bench.delivery.state(target)).synced, false);
      await synced(target);
      const [one, other] = [await bench.delivery.state(target), await bench.delivery.state(target)];
      assert.equal(one, other);
      assertWords(one);
      const workload = await bench.delivery.workload(target);
      assert.ok(workload.ready, workload.message);
    });

    test('a commit that others have followed is synced with them', async () => {
      const first = await bench.commit('followed', 'calm');
      const second = await bench.commit('followed', 'brisk');
      const neighbour = await bench.commit('neighbour', 'calm');
      for (const target of [neighbour, second, first]) await synced(target);
    });

    test('what cannot be applied is not synced and says why; its correction is', async () => {
      const faulty = await bench.commitFaulty('faulty');
      await bench.until('the fault is named', faulty, async () => {
        const { reason } = await bench.delivery.state(faulty);
        return reason !== 'SyncPending' && reason !== 'ManifestsMissing';
      });
      const state = await bench.delivery.state(faulty);
      assert.is(state.synced, false);
      assertWords(state);
      assert.match(state.message, /faulty/);
      bench.mend();
      await synced(await bench.commit('faulty', 'brisk'));
    });

    test('a removed Instance is gone only when nothing is left of it, and then stays so', async () => {
      const target = await bench.commit('removed', 'calm');
      await synced(target);
      const left = await bench.delivery.remains(target);
      assert.ok(left, 'it is there');
      assertWords(left);
      const commit = await bench.remove('removed');
      const removal = { ...target, commit };
      if (lags) assert.ok(await bench.delivery.remains(removal), 'somebody else has to remove it first');
      const gone = async () => (await bench.delivery.remains(removal)) === undefined;
      await bench.until('it is gone', removal, gone);
      assert.ok(await gone());
      await bench.until('its commit is not synced any more', target, async () => {
        return !(await bench.delivery.state(target)).synced;
      });
    });

    test('what changes is told to whoever listens, until he ends it', async () => {
      const told: DeliveryEvent[] = [];
      const end = bench.delivery.onChange((event) => told.push(event));
      const target = await bench.commit('told', 'calm');
      await synced(target);
      const concerns = (event: DeliveryEvent) =>
        'instanceUid' in event ? event.instanceUid === target.instanceUid : event.project === target.project;
      if (lags) await bench.until('it is told', target, async () => told.some(concerns));
      end();
      told.length = 0;
      await synced(await bench.commit('told', 'brisk'));
      assert.equal(told, []);
    });

    test('a system that is away is an error, and never an answer', async (t) => {
      const { away } = bench;
      if (away === undefined) return t.diagnostic('it cannot be away');
      const target = await bench.commit('away', 'calm');
      await synced(target);
      const removal = { ...target, commit: await bench.remove('away') };
      away(true);
      const answer = await bench.delivery.remains(removal).catch((error: unknown) => error);
      assert.instance(answer, Error);
      away(false);
      await bench.until('it is gone', removal, async () => (await bench.delivery.remains(removal)) === undefined);
    });

    test('secrets that cannot be read keep a workload from being ready', async (t) => {
      const { hideSecrets } = bench;
      if (hideSecrets === undefined) return t.diagnostic('nothing is started');
      const target = await bench.commit('secretive', 'calm');
      await synced(target);
      hideSecrets('secretive', true);
      const next = await bench.commit('secretive', 'brisk');
      const ready = async () => (await bench.delivery.workload(next)).ready;
      await bench.until('it is not ready', next, async () => !(await ready()));
      assertWords(await bench.delivery.workload(next));
      hideSecrets('secretive', false);
      await bench.until('it is ready', await bench.commit('secretive', 'calm'), ready);
    });

    test('a commit that is given up says so once a new one is due, and that one is tried', async (t) => {
      const { again } = bench;
      if (again === undefined) return t.diagnostic('nothing is given up');
      const target = await bench.commitFaulty('exhausted');
      let revision = '';
      await bench.until('it is given up', target, async () => {
        const state = await bench.delivery.state(target);
        revision = state.exhausted === true ? (state.revision ?? '') : '';
        return revision !== '';
      });
      assertWords(await bench.delivery.state(target));
      bench.mend();
      await synced(await again('exhausted', revision));
    });

    test('a sync that waits for what somebody has removed is named and ended, and a new commit is applied', async (t) => {
      const { again, loseObject } = bench;
      if (again === undefined || loseObject === undefined) return t.diagnostic('nothing is waited for');
      await synced(await bench.commit('lost', 'brisk'));
      loseObject('lost');
      const target = await bench.commit('lost', 'calm');
      const seen = new Set<string>();
      let revision = '';
      await bench.until('its commit is given up', target, async () => {
        const state = await bench.delivery.state(target);
        assertWords(state);
        seen.add(`${state.reason} ${state.message}`);
        revision = state.exhausted === true ? (state.revision ?? '') : '';
        return revision !== '';
      });
      assert.ok(
        [...seen].some((text) => /^SyncStalled .* ConfigMap i-lost,/.test(text)),
        [...seen].join('\n'),
      );
      await synced(await again('lost', revision));
    });
  });
}

/** As conditions need it: a word, and a sentence that is the same at every try. */
function assertWords({ reason, message }: { reason: string; message: string }): void {
  assert.match(reason, /^[A-Z][A-Za-z]+$/);
  assert.match(message, /^[^\n]+\.$/);
  assert.not.match(message, UNSTEADY);
}
