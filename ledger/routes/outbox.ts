import { Problem } from '../../config/problem.ts';
import type { DriftQuery, DriftReply } from '../drift.ts';
import { DRIFT_KINDS } from '../drift-kinds.ts';
import { OpenMeterError } from '../openmeter.ts';
import {
  boolean,
  id,
  integer,
  list,
  name,
  nullable,
  object,
  oneOf,
  reply,
  type Schema,
  text,
  time,
  walletName,
} from './fields.ts';
import type { LedgerParts } from './parts.ts';
import type { Endpoint } from './route.ts';

/** As OpenMeter names its meters. */
const meterSlug: Schema = { type: 'string', maxLength: 64, pattern: '^[a-z0-9]+(_[a-z0-9]+)*$' };

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

const driftReply = reply(
  {
    ok: boolean,
    from: time,
    to: time,
    wallet: walletName,
    ledger: reply({ receipts: integer(0), runs: integer(0), amount: integer(0) }),
    openmeter: nullable(reply({ events: integer(0), amount: { type: 'number' }, waiting: integer(0) })),
    counts: { type: 'object', additionalProperties: integer(1) },
    differences: {
      type: 'array',
      items: reply({ kind: oneOf(...Object.keys(DRIFT_KINDS)), name: text(512), wallet: name, detail: text(2_048) }, [
        'wallet',
      ]),
    },
  },
  ['from', 'to', 'wallet'],
);

/** Where the outbox to OpenMeter stands, and what a person can do about it. */
export function outboxEndpoints({ outbox, outboxEnabled, drift }: LedgerParts): Endpoint[] {
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
    {
      method: 'POST',
      path: '/v1/drift',
      scope: 'audit',
      summary: 'Compare receipts with the records of runs and with what OpenMeter has',
      body: object({ from: time, to: time, wallet: walletName, meter: meterSlug, unitsMeter: meterSlug }),
      replies: { 200: driftReply },
      handle: async ({ body }) => ({ status: 200, body: { ...(await reportOf(() => drift(body as DriftQuery))) } }),
    },
  ];
}

async function reportOf(report: () => Promise<DriftReply>): Promise<DriftReply> {
  try {
    return await report();
  } catch (error) {
    if (!(error instanceof OpenMeterError)) throw error;
    throw new Problem({ status: 502, code: 'openmeter_unavailable', detail: error.message, cause: error });
  }
}
