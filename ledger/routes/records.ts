import {
  boolean,
  context,
  grantKind,
  holdState,
  id,
  integer,
  lines,
  list,
  name,
  object,
  reply,
  text,
  time,
} from './fields.ts';
import { holdRecord } from './holds.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint } from './route.ts';

const receipt = reply(
  {
    receipt: id,
    wallet: name,
    hold: id,
    state: holdState,
    amount: integer(0),
    released: integer(0),
    overrun: reply({ fromAvailable: integer(0), debt: integer(0), writtenOff: integer(0) }),
    lines,
    available: integer(0),
    at: time,
    context,
    grants: {
      type: 'array',
      items: reply({ grant: id, amount: integer(0), kind: grantKind, shop: text(1_024), order: name, line: name }, [
        'shop',
        'order',
        'line',
      ]),
    },
  },
  ['wallet', 'hold', 'state', 'released', 'overrun', 'available'],
);

/** What was charged and why: receipts, runs, and the audit of the whole book. */
export function recordEndpoints({ queries, audit }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/receipts/:receipt',
      scope: 'read',
      summary: 'A receipt with its lines, its context and the grants it was paid from',
      params: { receipt: id },
      replies: { 200: receipt },
      handle: async ({ params }) => answer(await queries.receipt(params.receipt ?? '')),
    },
    {
      method: 'GET',
      path: '/v1/runs/:runId',
      scope: 'read',
      summary: 'The hold of a run, with its receipt and where its result lies',
      params: { runId: text(253) },
      replies: { 200: holdRecord },
      handle: async ({ params }) => answer(await queries.run(params.runId ?? '')),
    },
    {
      method: 'POST',
      path: '/v1/audit',
      scope: 'audit',
      summary: 'Recompute every sum of the book',
      body: object({}),
      replies: {
        200: reply({
          ok: boolean,
          checkedEntries: integer(0),
          chain: reply({ links: integer(0), head: { type: 'string', pattern: '^([0-9a-f]{64})?$' } }),
          problems: list(text(1_024), 1_000),
        }),
      },
      handle: async () => ({ status: 200, body: { ...(await audit()) } }),
    },
  ];
}
