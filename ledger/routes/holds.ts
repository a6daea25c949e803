import type { CaptureBody, DebitBody, HoldBody } from '../wire.ts';
import {
  boolean,
  context,
  holdState,
  id,
  integer,
  lines,
  name,
  object,
  page,
  reason,
  reply,
  text,
  time,
  ttlSeconds,
  uid,
  walletName,
} from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint, pageQuery } from './route.ts';

export const holdBody = object(
  {
    wallet: walletName,
    amount: integer(1),
    ttlSeconds,
    offering: name,
    project: name,
    instanceUid: uid,
    maxConcurrent: integer(1, 100_000),
    context,
  },
  ['wallet', 'amount', 'ttlSeconds'],
);
export const extendBody = object({ ttlSeconds }, ['ttlSeconds']);
export const captureBody = object({ lines, final: boolean, resultRef: text(1_024) }, ['lines']);
export const voidBody = object({ reason });
export const debitBody = object({ wallet: walletName, lines, offering: name, project: name, context }, [
  'wallet',
  'lines',
]);

const holdReply = { hold: id, wallet: name, amount: integer(0), state: holdState, expiresAt: time };
export const holdRecord = reply(
  {
    ...holdReply,
    offering: name,
    project: name,
    instanceUid: uid,
    receipt: id,
    resultRef: text(1_024),
    reason,
    context,
  },
  ['offering', 'project', 'instanceUid', 'receipt', 'resultRef', 'reason', 'context'],
);
const captureReply = reply({
  receipt: id,
  hold: id,
  state: holdState,
  amount: integer(0),
  released: integer(0),
  overrun: reply({ fromAvailable: integer(0), debt: integer(0), writtenOff: integer(0) }),
  lines,
  available: integer(0),
});

/** Holds and debits: reserve, extend, capture, void, and charge at once. */
export function holdEndpoints({ operations, queries }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/v1/holds',
      scope: 'holds',
      summary: 'Reserve credits for a run',
      keyed: true,
      body: holdBody,
      replies: { 201: reply(holdReply) },
      handle: async ({ body, key, epoch }) => answer(await operations.hold(body as HoldBody, { key, ...epoch })),
    },
    {
      method: 'GET',
      path: '/v1/holds',
      scope: 'read',
      summary: 'Open holds, of one Instance or all, oldest first',
      query: { instanceUid: uid, ...pageQuery },
      replies: { 200: page(holdRecord) },
      handle: async ({ query }) =>
        answer(
          await queries.openHolds(
            query.instanceUid as string | undefined,
            query as { cursor?: string; limit?: number },
          ),
        ),
    },
    {
      method: 'GET',
      path: '/v1/holds/:hold',
      scope: 'read',
      summary: 'Present state of a hold',
      params: { hold: id },
      replies: { 200: holdRecord },
      handle: async ({ params }) => answer(await queries.hold(params.hold ?? '')),
    },
    {
      method: 'POST',
      path: '/v1/holds/:hold/extend',
      scope: 'extend',
      summary: 'Let a hold live longer, counted from now',
      keyed: true,
      params: { hold: id },
      body: extendBody,
      replies: { 200: reply(holdReply) },
      handle: async ({ params, body, key, epoch }) =>
        answer(await operations.extendHold(params.hold ?? '', body as { ttlSeconds: number }, { key, ...epoch })),
    },
    {
      method: 'POST',
      path: '/v1/holds/:hold/capture',
      scope: 'capture',
      summary: 'Charge what was used; a final capture releases the rest',
      keyed: true,
      params: { hold: id },
      body: captureBody,
      replies: { 200: captureReply },
      handle: async ({ params, body, key, epoch }) =>
        answer(await operations.capture(params.hold ?? '', body as CaptureBody, { key, ...epoch })),
    },
    {
      method: 'POST',
      path: '/v1/holds/:hold/void',
      scope: 'void',
      summary: 'End a hold without charge',
      keyed: true,
      params: { hold: id },
      body: voidBody,
      replies: { 200: reply({ hold: id, state: holdState, released: integer(0) }) },
      handle: async ({ params, body, key, epoch }) =>
        answer(await operations.voidHold(params.hold ?? '', body as { reason?: string }, { key, ...epoch })),
    },
    {
      method: 'POST',
      path: '/v1/debits',
      scope: 'debits',
      summary: 'Charge at once, without a hold',
      keyed: true,
      body: debitBody,
      replies: { 201: reply({ receipt: id, amount: integer(0), available: integer(0) }) },
      handle: async ({ body, key, epoch }) => answer(await operations.debit(body as DebitBody, { key, ...epoch })),
    },
  ];
}
