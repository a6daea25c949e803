import { setTimeout as delay } from 'node:timers/promises';
import type { LedgerEvent } from '../wire.ts';
import { boolean, integer, object, reply, type Schema, text, time } from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint, type EndpointReply } from './route.ts';

/** Longest wait of one poll; proxies in between tend to cut after 60 s. */
const MAX_WAIT_SECONDS = 30;

/** How soon a waiting reader sees a new event. Readers are few: the operator and the outbox. */
const POLL_MS = 100;

/** Events of one reply; the reader asks again at once. */
const MAX_EVENTS = 500;

const event = reply({ seq: integer(1), type: text(64), wallet: text(253), at: time, data: { type: 'object' } });

const consumer: Schema = { type: 'string', maxLength: 64, pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' };
const position = reply({ consumer, position: integer(0), last: integer(0), updatedAt: time }, ['updatedAt']);

/** The ordered, replayable feed, as a long poll, and how far its readers have come. */
export function eventEndpoints({ operations, queries, metrics, closing }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/events',
      scope: 'events',
      summary: 'Events after a sequence number; waits until there is one, the time is over, or the ledger stops',
      query: { after: { ...integer(0), default: 0 }, waitSeconds: { ...integer(0, MAX_WAIT_SECONDS), default: 0 } },
      replies: { 200: reply({ events: { type: 'array', items: event }, next: integer(0) }) },
      handle: async ({ query, gone }) => {
        const after = Number(query.after);
        const first = await queries.events(after, MAX_EVENTS);
        if (first.length > 0 || query.waitSeconds === 0) return page(first, after);
        const over = AbortSignal.any([gone, closing, AbortSignal.timeout(Number(query.waitSeconds) * 1000)]);
        const done = metrics.waiting();
        try {
          for (;;) {
            await delay(POLL_MS, undefined, { signal: over }).catch(() => undefined);
            const events = over.aborted ? [] : await queries.events(after, MAX_EVENTS);
            if (events.length > 0 || over.aborted) return page(events, after);
          }
        } finally {
          done();
        }
      },
    },
    {
      method: 'GET',
      path: '/v1/consumers/:consumer',
      scope: 'events',
      summary: 'How far a reader of the feed has come; 0 when it never said',
      params: { consumer },
      replies: { 200: position },
      handle: async ({ params }) => answer(await queries.consumer(params.consumer ?? '')),
    },
    {
      method: 'PUT',
      path: '/v1/consumers/:consumer',
      scope: 'events',
      summary: 'Keep how far a reader of the feed has come; only `rewind` goes back',
      params: { consumer },
      body: object({ position: integer(0), rewind: boolean }, ['position']),
      replies: { 200: position },
      handle: async ({ params, body, epoch }) =>
        answer(await operations.putConsumer(params.consumer ?? '', body as { position: number }, epoch)),
    },
  ];
}

function page(events: readonly LedgerEvent[], after: number): EndpointReply {
  return { status: 200, body: { events, next: events.at(-1)?.seq ?? after } };
}
