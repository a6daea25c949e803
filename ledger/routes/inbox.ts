import { MAX_LEASE_SECONDS, MAX_RAW_BYTES } from '../inbox.ts';
import type { InboxBody } from '../wire.ts';
import { boolean, id, integer, nullable, object, oneOf, page, reason, reply, text, time } from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint, invalidRequest, pageQuery } from './route.ts';

/** Base64 of the largest delivery plus the other fields. */
const BODY_LIMIT_BYTES = Math.ceil(MAX_RAW_BYTES / 3) * 4 + 16_384;

/** A day: an item that must wait longer should be parked. */
const MAX_RETRY_SECONDS = 86_400;

const states = ['pending', 'deferred', 'ignored', 'claimed', 'done', 'parked'];
const fields = {
  id,
  shop: text(1_024),
  order: nullable(text(253)),
  event: text(128),
  state: oneOf(...states),
  bodySha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
  attempts: integer(0),
  receivedAt: time,
  leaseExpiresAt: time,
  reason,
  rawBase64: { type: 'string' },
};
const entry = reply(fields, ['reason', 'rawBase64', 'leaseExpiresAt']);
const item = reply(fields, ['reason']);

/** The durable inbox of the shop's deliveries. */
export function inboxEndpoints({ inbox }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/v1/inbox',
      scope: 'inbox:write',
      summary: 'Store a delivery once per shop and content',
      bodyLimitBytes: BODY_LIMIT_BYTES,
      body: object(
        {
          shop: fields.shop,
          order: fields.order,
          bodySha256: fields.bodySha256,
          rawBase64: { type: 'string', minLength: 4, maxLength: Math.ceil(MAX_RAW_BYTES / 3) * 4 },
          event: fields.event,
          state: oneOf('pending', 'deferred', 'ignored'),
          reason,
        },
        ['shop', 'order', 'bodySha256', 'rawBase64', 'event', 'state'],
      ),
      replies: { 200: entry, 201: entry },
      handle: async ({ body }) => answer(await inbox.put(body as InboxBody)),
    },
    {
      method: 'POST',
      path: '/v1/inbox/claim',
      scope: 'inbox:work',
      summary: 'Take the oldest due item under a lease; one item of an order at a time',
      body: object({ leaseSeconds: integer(1, MAX_LEASE_SECONDS) }, ['leaseSeconds']),
      replies: { 200: reply({ item: nullable(item) }) },
      handle: async ({ body, epoch }) =>
        answer(await inbox.claim((body as { leaseSeconds: number }).leaseSeconds, epoch)),
    },
    {
      method: 'POST',
      path: '/v1/inbox/:id/done',
      scope: 'inbox:work',
      summary: 'The item took effect',
      params: { id },
      body: object({}),
      replies: { 200: entry },
      handle: async ({ params, epoch }) => answer(await inbox.done(params.id ?? '', epoch)),
    },
    {
      method: 'POST',
      path: '/v1/inbox/:id/fail',
      scope: 'inbox:work',
      summary: 'Hand the item back; it is due again later',
      params: { id },
      body: object({ retryAfterSeconds: integer(0, MAX_RETRY_SECONDS), reason }, ['retryAfterSeconds']),
      replies: { 200: entry },
      handle: async ({ params, body, epoch }) =>
        answer(await inbox.fail(params.id ?? '', body as { retryAfterSeconds: number; reason?: string }, epoch)),
    },
    {
      method: 'POST',
      path: '/v1/inbox/:id/park',
      scope: 'inbox:work',
      summary: 'Take the item out of the queue until a person acts',
      params: { id },
      body: object({ reason }, ['reason']),
      replies: { 200: entry },
      handle: async ({ params, body, epoch }) =>
        answer(await inbox.park(params.id ?? '', body as { reason: string }, epoch)),
    },
    {
      method: 'POST',
      path: '/v1/inbox/:id/retry',
      scope: 'inbox:work',
      summary: 'A person mended what a parked item waited for: it is due again',
      params: { id },
      body: object({}),
      replies: { 200: entry },
      handle: async ({ params, epoch }) => answer(await inbox.retry(params.id ?? '', epoch)),
    },
    {
      method: 'GET',
      path: '/v1/inbox',
      scope: 'read',
      summary: 'Items, newest first',
      query: { state: oneOf(...states), raw: { ...boolean, default: false }, ...pageQuery },
      replies: { 200: page(entry) },
      handle: async ({ query }) => {
        const { items, next } = await inbox.list({
          state: query.state as string | undefined,
          cursor: cursor(query.cursor),
          limit: Number(query.limit),
          raw: query.raw === true,
        });
        return { status: 200, body: { items, next } };
      },
    },
  ];
}

function cursor(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^inbox_[1-9]\d{0,17}$/.test(value)) return value;
  throw invalidRequest('querystring', '/cursor', 'cursor', 'must be the `next` of a page');
}
