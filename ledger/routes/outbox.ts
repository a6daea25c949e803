import { boolean, id, integer, list, object, reply, text, time } from './fields.ts';
import type { LedgerParts } from './parts.ts';
import type { Endpoint } from './route.ts';

const state = reply(
  {
    enabled: boolean,
    book: { type: 'string', format: 'uuid' },
    position: integer(0),
    lag: integer(0),
    open: integer(0),
    parked: integer(0),
    parkedReceipts: {
      type: 'array',
      items: reply({ receipt: id, events: list(text(128), 1_000), reason: text(1_024) }),
    },
    failures: integer(0),
    retryAt: time,
    lastError: text(1_024),
    sentAt: time,
  },
  ['retryAt', 'lastError', 'sentAt'],
);

/** Where the outbox to OpenMeter stands, and what a person can do about it. */
export function outboxEndpoints({ outbox, outboxEnabled }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/outbox',
      scope: 'read',
      summary: 'What OpenMeter has not been told of, and which events it refuses',
      replies: { 200: state },
      handle: async () => ({ status: 200, body: { ...(await outbox.state(outboxEnabled)) } }),
    },
    {
      method: 'POST',
      path: '/v1/outbox/retry',
      scope: 'audit',
      summary: 'Send parked receipts again, and what waits for its time at once',
      body: object({}),
      replies: { 200: reply({ receipts: integer(0) }) },
      handle: async () => ({ status: 200, body: { receipts: await outbox.retry() } }),
    },
  ];
}
