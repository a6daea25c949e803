import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import { ManualClock } from '../../hack/testing/operator/manual-clock.ts';
import { EventsReader } from './events-reader.ts';

interface Event {
  seq: number;
}

const log = createLogger({ part: 'test', level: 'silent' });
const turn = async () => {
  for (let each = 0; each < 5; each++) await new Promise((resolve) => setImmediate(resolve));
};

/** A feed of pages of two; a read that waits ends only by a push or the signal. */
class Feed {
  readonly events: Event[] = [];
  readonly reads: { after: number; waitSeconds: number }[] = [];
  failures = 0;
  #wake: (() => void)[] = [];

  push(...seqs: number[]): void {
    for (const seq of seqs) this.events.push({ seq });
    for (const wake of this.#wake.splice(0)) wake();
  }

  read = async (query: { after: number; waitSeconds: number; signal: AbortSignal }) => {
    this.reads.push({ after: query.after, waitSeconds: query.waitSeconds });
    if (this.failures-- > 0) throw new Error('away');
    if (query.waitSeconds > 0 && !this.events.some(({ seq }) => seq > query.after))
      await new Promise<void>((resolve, reject) => {
        this.#wake.push(resolve);
        query.signal.addEventListener('abort', () => reject(query.signal.reason));
      });
    const events = this.events.filter(({ seq }) => seq > query.after).slice(0, 2);
    return { events, next: events.at(-1)?.seq ?? query.after };
  };
}

function reader(feed: Feed) {
  const seen: number[] = [];
  const clock = new ManualClock();
  const made = new EventsReader<Event>({
    read: feed.read,
    handle: ({ seq }) => seen.push(seq),
    clock,
    random: () => 0,
    log,
  });
  return { seen, clock, made };
}

test('it replays the feed from the beginning, then waits for more, each event once and in order', async () => {
  const feed = new Feed();
  feed.push(3, 5, 6);
  const { made, seen } = reader(feed);
  made.start();
  await made.caughtUp;
  assert.equal(seen, [3, 5, 6]);
  await turn();
  assert.ok((feed.reads.at(-1)?.waitSeconds ?? 0) > 0);
  feed.push(9);
  await turn();
  assert.equal(seen, [3, 5, 6, 9]);
  await made.stop();
});

test('a failed read is repeated from the same place after a pause', async () => {
  const feed = new Feed();
  feed.push(1);
  feed.failures = 2;
  const { made, seen, clock } = reader(feed);
  made.start();
  await turn();
  assert.equal(seen, []);
  assert.is(feed.reads.length, 1);
  await clock.advance(125, turn);
  assert.is(feed.reads.length, 2);
  await clock.advance(250, turn);
  assert.equal(seen, [1]);
  assert.equal(
    feed.reads.slice(0, 3).map(({ after }) => after),
    [0, 0, 0],
  );
  await made.stop();
});

test('stop ends a read that waits, and a pause', async () => {
  const waiting = reader(new Feed());
  waiting.made.start();
  await turn();
  await waiting.made.stop();

  const feed = new Feed();
  feed.failures = 100;
  const pausing = reader(feed);
  pausing.made.start();
  await turn();
  await pausing.made.stop();
  assert.is(pausing.clock.pending, 0);
});
