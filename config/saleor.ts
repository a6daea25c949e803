/**
 * What a Saleor delivery says, read from its verified raw bytes. Both the webhook intake (which
 * files it) and the operator's order worker (which acts on it) read it here, so they can never
 * disagree. Shapes: a subscription posts the event flat, a typed root wraps it as
 * `{"data": {"orderFullyPaid": …}}`; a webhook without a query posts a legacy array and is refused.
 */
import { Problem } from './problem.ts';

/** `order.chargeStatus` values that mean "nothing is owed any more". */
const PAID_CHARGE_STATUSES = new Set(['FULL', 'OVERCHARGED']);

/** The metadata key of an order that names the Organization it is for. */
const TENANT_KEY = 'tenant';

/** The NUMERIC attribute of a credit pack's variant. */
const CREDITS_SLUG = 'credits';

/** The metadata key of an order line that names the Instance which it renews. */
const RENEWS_KEY = 'renews';

/** A page of order lines or values longer than this is not one of ours; it bounds the work. */
const MAX_LINES = 500;

/** The longest id, SKU or name that the ledger keeps as the key of an effect; Saleor's ids have about 70. */
const MAX_TEXT = 253;

/** The names of GraphQL types that Saleor gives its events, e.g. `OrderFullyPaid`. */
const TYPENAME = /^[A-Z][A-Za-z]{0,63}$/;

/** RFC 3339 with a zone: a time without one would mean something else on every machine. */
const RFC_3339 = /^[1-9]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/**
 * Minor-unit digits of ISO 4217 where they are not two. Kept here, because what `Intl` says follows
 * CLDR and changes with its data (IQD and HUF have none there); a shop that rounds to fewer digits
 * still fits, one that keeps more would lose an order that was paid.
 */
const CURRENCY_DIGITS: Readonly<Record<string, number>> = {
  ...digits(0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'),
  ...digits(3, 'BHD IQD JOD KWD LYD OMR TND'),
  ...digits(4, 'CLF UYW'),
};

function digits(count: number, currencies: string): Record<string, number> {
  return Object.fromEntries(currencies.split(' ').map((currency) => [currency, count]));
}

export interface ShopLine {
  /** Saleor's global id: the business key of everything the line causes. */
  id: string;
  sku: string;
  quantity: number;
  /** The NUMERIC variant attribute `credits`, where the shop sets it; NaN when it is no decimal number. */
  credits?: number;
  /** From the line's metadata: the Instance whose paid time the line renews. */
  renews?: string;
}

export interface ShopOrder {
  id: string;
  number: string;
  /** RFC 3339; the date that expiry and paid periods count from. */
  created: string;
  /** Fully charged at the time the payload was made. */
  paid: boolean;
  cancelled: boolean;
  /** Cumulative, in minor units of `currency`. */
  charged: { minor: number; currency: string };
  total: { minor: number; currency: string };
  userEmail: string;
  /** From the order's metadata; absent when the shop did not set it. */
  tenant?: string;
  lines: ShopLine[];
}

export interface ShopDelivery {
  /** Lower snake case like the `Saleor-Event` header, derived from the signed `__typename`. */
  event: string;
  issuedAt: string;
  order?: ShopOrder;
}

type Json = Record<string, unknown>;

/**
 * @throws Problem 400 `malformed_body`; 422 `legacy_payload`, `payload_incomplete` (the subscription
 * does not ask for a field that is needed; the pointer names it)
 */
export function parseDelivery(raw: Uint8Array): ShopDelivery {
  const event = eventRoot(parseJson(raw));
  const typename = text(event, '__typename', '');
  if (!TYPENAME.test(typename)) throw incomplete('/__typename', 'must be the name of an event type');
  const delivery: ShopDelivery = { event: snakeCase(typename), issuedAt: timestamp(event, 'issuedAt', '') };
  if (typename.startsWith('Order')) delivery.order = parseOrder(object(event, 'order', ''));
  return delivery;
}

function parseJson(raw: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch (cause) {
    throw new Problem({ status: 400, code: 'malformed_body', detail: 'the delivery is not UTF-8 JSON', cause });
  }
}

function eventRoot(body: unknown): Json {
  if (Array.isArray(body)) {
    throw new Problem({
      status: 422,
      code: 'legacy_payload',
      detail: 'this webhook has no subscription query and posts the legacy payload; give it a query and send it again',
    });
  }
  const root = isObject(body) && isObject(body.data) ? Object.values(body.data)[0] : body;
  if (!isObject(root)) throw incomplete('', 'must be an event object');
  return root;
}

function parseOrder(order: Json): ShopOrder {
  const total = object(order, 'total', '/order');
  const currency = text(total, 'currency', '/order/total');
  const lines = list(order, 'lines', '/order').map((line, index) => parseLine(line, `/order/lines/${index}`));
  const tenant = metadataOf(order, TENANT_KEY, '/order');
  return {
    id: text(order, 'id', '/order'),
    number: text(order, 'number', '/order'),
    created: timestamp(order, 'created', '/order'),
    paid: order.isPaid === true && PAID_CHARGE_STATUSES.has(text(order, 'chargeStatus', '/order')),
    cancelled: text(order, 'status', '/order') === 'CANCELED',
    total: {
      minor: minorUnits(object(total, 'gross', '/order/total').amount, currency, '/order/total/gross/amount'),
      currency,
    },
    charged: {
      minor: minorUnits(object(order, 'totalCharged', '/order').amount, currency, '/order/totalCharged/amount'),
      currency,
    },
    userEmail: optionalText(order, 'userEmail', '/order') ?? '',
    ...(tenant === undefined ? {} : { tenant }),
    lines,
  };
}

function parseLine(line: unknown, pointer: string): ShopLine {
  if (!isObject(line)) throw incomplete(pointer, 'must be an object');
  const quantity = line.quantity;
  if (typeof quantity !== 'number' || !Number.isSafeInteger(quantity) || quantity < 0) {
    throw incomplete(`${pointer}/quantity`, 'must be a whole number');
  }
  const variant = isObject(line.variant) ? line.variant : undefined;
  const sku =
    optionalText(line, 'productSku', pointer) ?? (variant && optionalText(variant, 'sku', `${pointer}/variant`));
  if (sku === undefined) throw incomplete(`${pointer}/productSku`, 'is required');
  const credits = creditsAttribute(variant);
  const renews = metadataOf(line, RENEWS_KEY, pointer);
  return {
    id: text(line, 'id', pointer),
    sku,
    quantity,
    ...(credits === undefined ? {} : { credits }),
    ...(renews === undefined ? {} : { renews }),
  };
}

/**
 * A NUMERIC attribute arrives as a text in `values[0].name`, or typed in `assignedAttributes`; an
 * unset one has no values. What is no decimal number must not look like "not set": NaN differs from
 * every pack's amount.
 */
function creditsAttribute(variant: Json | undefined): number | undefined {
  const entries = [variant?.attributes, variant?.assignedAttributes].flatMap((list) =>
    Array.isArray(list) ? list.filter(isObject) : [],
  );
  const entry = entries.find(({ attribute }) => isObject(attribute) && attribute.slug === CREDITS_SLUG);
  if (entry === undefined) return undefined;
  const [first]: unknown[] = Array.isArray(entry.values) ? entry.values : [];
  const value = isObject(first) ? first.name : entry.value;
  if (value === undefined || value === null) return undefined;
  const known = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
  return /^\d+(\.\d+)?$/.test(known) ? Number(known) : Number.NaN;
}

function metadataOf(object: Json, key: string, pointer: string): string | undefined {
  if (!Array.isArray(object.metadata)) return undefined;
  const index = object.metadata.findIndex((item) => isObject(item) && item.key === key);
  const entry: unknown = object.metadata[index];
  return isObject(entry) ? optionalText(entry, 'value', `${pointer}/metadata/${index}`) : undefined;
}

/**
 * Money arrives as a float (Python's `json.dumps` of a decimal). The shortest decimal text of that
 * float is the amount that the shop meant; its digits are shifted as text, never multiplied.
 *
 * @throws Problem 422 `payload_incomplete`: negative, more digits than the currency has, or too large
 */
export function minorUnits(amount: unknown, currency: string, pointer: string): number {
  if (!/^[A-Z]{3}$/.test(currency)) throw incomplete(pointer, 'has no currency of ISO 4217');
  const digits = CURRENCY_DIGITS[currency] ?? 2;
  const match = /^(\d+)(?:\.(\d+))?$/.exec(
    typeof amount === 'number' || typeof amount === 'string' ? String(amount) : '',
  );
  const fraction = match?.[2] ?? '';
  if (!match || fraction.slice(digits).replaceAll('0', '') !== '') {
    throw incomplete(pointer, `must be an amount with at most ${digits} decimal digits`);
  }
  const minor = Number(`${match[1]}${fraction.slice(0, digits).padEnd(digits, '0')}`);
  if (!Number.isSafeInteger(minor)) throw incomplete(pointer, 'is too large');
  return minor;
}

function snakeCase(typename: string): string {
  return typename.replaceAll(/(?!^)([A-Z])/g, '_$1').toLowerCase();
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function object(parent: Json, field: string, pointer: string): Json {
  const value = parent[field];
  if (!isObject(value)) throw incomplete(`${pointer}/${field}`, 'is required');
  return value;
}

function text(parent: Json, field: string, pointer: string): string {
  const value = optionalText(parent, field, pointer);
  if (value === undefined) throw incomplete(`${pointer}/${field}`, 'is required');
  return value;
}

/** Undefined for absent, null and empty. What no database stores (NUL, half a surrogate pair) is refused. */
function optionalText(parent: Json, field: string, pointer: string): string | undefined {
  const value = parent[field];
  if (value === undefined || value === null || value === '') return undefined;
  const storable = typeof value === 'string' && value.isWellFormed() && !/\p{Cc}/u.test(value);
  if (!storable || value.length > MAX_TEXT) {
    throw incomplete(`${pointer}/${field}`, `must be a text of at most ${MAX_TEXT} characters`);
  }
  return value;
}

function timestamp(parent: Json, field: string, pointer: string): string {
  const value = text(parent, field, pointer);
  if (!RFC_3339.test(value) || Number.isNaN(Date.parse(value))) {
    throw incomplete(`${pointer}/${field}`, 'must be an RFC 3339 time');
  }
  return value;
}

function list(parent: Json, field: string, pointer: string): unknown[] {
  const value = parent[field];
  if (!Array.isArray(value) || value.length > MAX_LINES) {
    throw incomplete(`${pointer}/${field}`, `must be a list of at most ${MAX_LINES}`);
  }
  return value;
}

function incomplete(pointer: string, message: string): Problem {
  return new Problem({
    status: 422,
    code: 'payload_incomplete',
    detail: `the delivery's ${pointer || '/'} ${message}; the webhook's subscription must ask for it`,
    errors: [{ pointer, rule: 'payload', message }],
  });
}
