import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../config/log.ts';
import { backoffMs } from './backoff.ts';
import { EventsRefused, type OpenMeter, OpenMeterError, type OpenMeterFailure } from './openmeter.ts';
import type { Outbox, OutboxRound, ParkedReceipt } from './outbox.ts';
import { type UsageEvent, usageEvents } from './outbox-events.ts';

/** How often an idle sender looks. A receipt is told after two looks, since its number must be safe first. */
const POLL_MS = 1_000;

/** Events of one request: some 150 KiB, far below what proxies in between take. */
const EVENTS_PER_REQUEST = 250;

const BACKOFF_BASE_MS = 1_000;
/** Longest wait of our own, so that an outage of a night costs minutes in the morning. */
const BACKOFF_CAP_MS = 300_000;
/** Longest wait that OpenMeter may ask for. */
const RETRY_AFTER_CAP_MS = 3_600_000;

/**
 * Refused events in a row, without one that was taken. More look like a fault of the other side and not of the events:
 * nothing is parked then, and the round is tried again like after any failure,
 */
const REFUSED_IN_A_ROW = 10;
/** but only so often, some two minutes: after that they are parked, so that nothing blocks the rest for good. */
const PATIENCE = 8;

/** What the sender counts; `refused` are parked events. */
export interface OutboxObserver {
  sent(events: number): void;
  failed(reason: OpenMeterFailure | 'refused' | 'database'): void;
}

export interface OutboxSender {
  /** Ends the round under way and gives the lease back. */
  stop(): Promise<void>;
}

export interface SenderParts {
  outbox: Outbox;
  openmeter: Pick<OpenMeter, 'ingest'>;
  observer: OutboxObserver;
  log: Logger;
}

/** Sends what is due until it is stopped. Safe in several processes at once: one of them has the lease. */
export function startOutboxSender(parts: SenderParts & { pollMs?: number }): OutboxSender {
  const stopping = new AbortController();
  const holder = randomUUID();
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const more = await sendRound(holder, parts, stopping.signal);
      if (!more) await delay(parts.pollMs ?? POLL_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    await parts.outbox.release(holder).catch(() => undefined);
  };
  const running = run();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** One look at the outbox and what is due in it. @returns whether there is more to do at once */
export async function sendRound(holder: string, parts: SenderParts, signal?: AbortSignal): Promise<boolean> {
  const { outbox, observer, log } = parts;
  let round: OutboxRound | undefined;
  try {
    round = await outbox.claim(holder);
    if (!round) return false;
    if (round.from === round.to && round.ready.length === 0) return false;
    const parked = await sendReceipts(round, parts, signal);
    return (await outbox.advance(holder, round, parked)) && round.more;
  } catch (error) {
    if (signal?.aborted) return false;
    const failure =
      error instanceof OpenMeterError ? error.failure : error instanceof EventsRefused ? 'refused' : 'database';
    observer.failed(failure);
    const delayMs = pauseMs(round?.failures ?? 0, error instanceof OpenMeterError ? error.retryAfterMs : undefined);
    log.warn({ err: error, failure, delayMs, ...span(round) }, 'usage could not be sent to OpenMeter; trying again');
    if (round) await outbox.failed(holder, delayMs, (error as Error).message).catch(() => undefined);
    return false;
  }
}

async function sendReceipts(
  round: OutboxRound,
  { openmeter, observer, log }: SenderParts,
  signal: AbortSignal | undefined,
): Promise<ParkedReceipt[]> {
  const events = round.ready.flatMap((receipt) => usageEvents(round.book, receipt));
  const refused = new Refusals(round.failures < PATIENCE ? REFUSED_IN_A_ROW : Number.POSITIVE_INFINITY);
  for (let from = 0; from < events.length; from += EVENTS_PER_REQUEST) {
    await send(events.slice(from, from + EVENTS_PER_REQUEST), refused, { openmeter, observer }, signal);
  }
  if (events.length > 0) {
    const [first, last] = [events[0]?.id, events.at(-1)?.id];
    log.info({ events: events.length - refused.count, first, last, ...span(round) }, 'usage was sent to OpenMeter');
  }
  // Only now, so that a round that fails later counts and names them once.
  for (const { id, reason } of refused.all) {
    observer.failed('refused');
    log.error({ event: id, reason }, 'OpenMeter refuses this event; it is parked');
  }
  return refused.byReceipt();
}

/** Halves what is refused until the events are alone that are to blame. */
async function send(
  events: readonly UsageEvent[],
  refused: Refusals,
  parts: Pick<SenderParts, 'openmeter' | 'observer'>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [first] = events;
  if (!first) return;
  try {
    await parts.openmeter.ingest(events, signal);
    refused.taken();
    parts.observer.sent(events.length);
  } catch (error) {
    if (!(error instanceof EventsRefused)) throw error;
    if (events.length === 1) return refused.add(first, error);
    const middle = Math.ceil(events.length / 2);
    await send(events.slice(0, middle), refused, parts, signal);
    await send(events.slice(middle), refused, parts, signal);
  }
}

class Refusals {
  readonly all: { receipt: number; id: string; reason: string }[] = [];
  readonly #limit: number;
  #inARow = 0;

  /** @param limit refusals in a row from which on they count as a failure of the round */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get count(): number {
    return this.all.length;
  }

  taken(): void {
    this.#inARow = 0;
  }

  add(event: UsageEvent, error: EventsRefused): void {
    this.#inARow += 1;
    if (this.#inARow > this.#limit) throw error;
    const receipt = Number(event.data.receipt.slice('receipt_'.length));
    this.all.push({ receipt, id: event.id, reason: `${error.status} ${error.message}`.trim() });
  }

  byReceipt(): ParkedReceipt[] {
    return [...Map.groupBy(this.all, ({ receipt }) => receipt)].map(([receipt, events]) => ({
      receipt,
      events: events.map(({ id }) => id),
      reason: events.at(-1)?.reason ?? '',
    }));
  }
}

/** Never earlier than OpenMeter asked for. */
function pauseMs(failures: number, retryAfterMs: number | undefined): number {
  const own = backoffMs(failures, { baseMs: BACKOFF_BASE_MS, capMs: BACKOFF_CAP_MS });
  return Math.ceil(Math.max(own, Math.min(retryAfterMs ?? 0, RETRY_AFTER_CAP_MS)));
}

function span(round: OutboxRound | undefined): Record<string, unknown> {
  if (!round) return {};
  const [first, last] = [round.ready[0]?.id, round.ready.at(-1)?.id];
  return first === undefined ? {} : { receipts: `receipt_${first} to receipt_${last}` };
}
