import type { BatchItem } from '../operations.ts';
import { authorize, type Scope } from '../tokens.ts';
import { grantFields, id, integer, list, object, reply, type Schema, source, text, walletName } from './fields.ts';
import { captureBody, debitBody, extendBody, holdBody, voidBody } from './holds.ts';
import type { LedgerParts } from './parts.ts';
import { type Endpoint, MAX_KEY_CHARACTERS } from './route.ts';

/** They run one after the other on one connection, within the client's timeout of one call. */
const MAX_OPERATIONS = 100;

const BODY_LIMIT_BYTES = 1_048_576;

interface Kind {
  scope: Scope;
  /** The field that names what the operation works on, as the path does on its own route. */
  target?: Record<string, Schema>;
  body: Schema;
}

const KINDS: Record<BatchItem['op'], Kind> = {
  hold: { scope: 'holds', body: holdBody },
  debit: { scope: 'debits', body: debitBody },
  extend: { scope: 'extend', target: { hold: id }, body: extendBody },
  capture: { scope: 'capture', target: { hold: id }, body: captureBody },
  void: { scope: 'void', target: { hold: id }, body: voidBody },
  grant: {
    scope: 'grants',
    target: { wallet: walletName },
    body: object({ ...grantFields, source }, ['amount', 'kind']),
  },
  revoke: { scope: 'grants', target: { grant: id }, body: object({ amount: integer(1), reason: text(1_024) }) },
};

const key = { type: 'string', minLength: 1, maxLength: MAX_KEY_CHARACTERS, pattern: '^[\\x20-\\x7e]+$' };

/** `if op = x then …` instead of a union, so that an error names the wrong field and not seven alternatives. */
const operation: Schema = {
  type: 'object',
  properties: { op: { type: 'string', enum: Object.keys(KINDS) } },
  required: ['op'],
  allOf: Object.entries(KINDS).map(([op, kind]) => ({
    if: { properties: { op: { const: op } }, required: ['op'] },
    // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
    then: object({ op: { const: op }, key, ...kind.target, body: kind.body }, [
      'op',
      'key',
      ...Object.keys(kind.target ?? {}),
      'body',
    ]),
  })),
};

/** Several operations in one request; each is answered for itself and needs the scope of its own route. */
export function batchEndpoints({ operations }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/v1/batch',
      scope: 'each',
      summary: 'Several operations, each under its own key and answered for itself',
      bodyLimitBytes: BODY_LIMIT_BYTES,
      body: object({ operations: { ...list(operation, MAX_OPERATIONS), minItems: 1 } }, ['operations']),
      replies: {
        200: reply({ results: list(reply({ key: text(255), status: integer(200, 599), body: { type: 'object' } })) }),
      },
      handle: async ({ body, scopes, epoch }) => {
        const items = (body as { operations: BatchItem[] }).operations;
        for (const item of items) authorize(scopes, KINDS[item.op].scope);
        return { status: 200, body: { results: await operations.batch(items, epoch) } };
      },
    },
  ];
}
