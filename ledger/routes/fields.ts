/**
 * JSON Schema pieces of the ledger's bodies and replies. Every string has a bound, every number a
 * range, every list a length; unknown fields are refused except in `context` and `source`.
 */

/** A piece of JSON Schema 2020-12. */
export type Schema = Readonly<Record<string, unknown>>;

/** Credits of one operation in one list; more belongs into several operations. */
const MAX_LIST = 100;

/** Free-form members of `context` and `source`. */
const MAX_FREE_MEMBERS = 32;

const MAX_TTL_SECONDS = 86_400;

/** An object that refuses unknown members. `required` names those that must be there. */
export function object(properties: Record<string, Schema>, required: readonly string[] = []): Schema {
  return { type: 'object', properties, required: [...required], additionalProperties: false };
}

/** A reply: what is listed is promised, more may come later. */
export function reply(properties: Record<string, Schema>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required };
}

export function list(items: Schema, maxItems = MAX_LIST): Schema {
  return { type: 'array', items, maxItems };
}

export function page(items: Schema): Schema {
  return reply({ items: { type: 'array', items }, next: { type: ['string', 'null'] } });
}

export const text = (maxLength: number): Schema => ({ type: 'string', minLength: 1, maxLength });
export const integer = (minimum: number, maximum = Number.MAX_SAFE_INTEGER): Schema => ({
  type: 'integer',
  minimum,
  maximum,
});
export const oneOf = (...values: string[]): Schema => ({ type: 'string', enum: values });
export const boolean: Schema = { type: 'boolean' };
/** RFC 3339 with a four-digit year from 1000 and an offset up to 14 h: what PostgreSQL can store, too. */
export const time: Schema = {
  type: 'string',
  format: 'date-time',
  maxLength: 40,
  pattern: '^[1-9]\\d{3}-.*([Zz]|[+-](0\\d|1[0-4]):[0-5]\\d)$',
};
export const nullable = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] });

/** A wallet's name in a body; unknown ones are 404, so only the length matters here. */
export const walletName = text(253);
/** A wallet's name where it is created. */
export const newWalletName: Schema = {
  type: 'string',
  maxLength: 253,
  pattern: '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$',
};
export const uid = text(128);
export const id = text(128);
export const name = text(253);
export const reason = text(1_024);
export const ttlSeconds = integer(1, MAX_TTL_SECONDS);

const free = (description: string): Schema => ({
  type: 'object',
  description,
  maxProperties: MAX_FREE_MEMBERS,
  additionalProperties: true,
});
export const context = free('What the receipt must be able to name; echoed as it came.');
export const source = free('Where the credits come from; echoed as it came.');

export const scope = object({ offerings: list(name), projects: list(name) });
export const grantKind = oneOf('purchased', 'included', 'trial', 'promotional', 'manual');
export const holdState = oneOf('open', 'captured', 'voided', 'expired');

/** Fields of a grant as a caller gives them, without `source`. */
export const grantFields = {
  amount: integer(1),
  kind: grantKind,
  priority: integer(0, 1_000_000),
  expiresAt: time,
  scope,
};

export const line = object({ dimension: text(128), units: integer(0), amount: integer(0) }, [
  'dimension',
  'units',
  'amount',
]);
export const lines = list(line);

/** RFC 9457 with our stable `code`. */
export const problem: Schema = reply(
  {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
    errors: {
      type: 'array',
      items: reply({ pointer: { type: 'string' }, rule: { type: 'string' }, message: { type: 'string' } }),
    },
    request_id: { type: 'string' },
  },
  ['errors'],
);
