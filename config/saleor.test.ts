import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Problem } from './problem.ts';
import { minorUnits, parseDelivery, type ShopLine } from './saleor.ts';

const RECORDED = join(import.meta.dirname, '../gateway/commerce/testdata');

const recorded = (base: string): Buffer => readFileSync(join(RECORDED, `${base}.body`));
const bytes = (body: unknown): Buffer => Buffer.from(JSON.stringify(body));

/** The smallest delivery of a paid order; `edit` changes it in place. */
function delivery(edit: (event: Event) => void = () => {}): Buffer {
  const event: Event = {
    __typename: 'OrderFullyPaid',
    issuedAt: '2026-11-23T07:51:20.139623+00:00',
    order: {
      id: 'T3JkZXI6MQ==',
      number: '1',
      created: '2026-11-23T07:51:18Z',
      status: 'UNFULFILLED',
      chargeStatus: 'FULL',
      isPaid: true,
      userEmail: 'buyer@example.com',
      metadata: [{ key: 'tenant', value: 'acme' }],
      total: { currency: 'USD', gross: { amount: 10.0 } },
      totalCharged: { amount: 10.0 },
      lines: [{ id: 'TGluZTox', quantity: 1, productSku: 'CREDITS-1000', variant: null }],
    },
  };
  edit(event);
  return bytes(event);
}

// biome-ignore lint/suspicious/noExplicitAny: the tests break it in every way
type Event = Record<string, any>;

function order(edit?: (event: Event) => void) {
  const parsed = parseDelivery(delivery(edit)).order;
  if (parsed === undefined) throw new Error('the delivery has no order');
  return parsed;
}

/** `code pointer` of the refusal. */
function refusal(run: () => unknown): string {
  try {
    run();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [error.status, error.code, ...(error.errors ?? []).map(({ pointer }) => pointer)].join(' ');
  }
}

const AMOUNTS: [reason: string, amount: unknown, currency: string, minor: number][] = [
  ['a whole float', 229.0, 'USD', 22900],
  ['two digits', 199.99, 'USD', 19999],
  ['a float that multiplication would spoil', 4.35, 'USD', 435],
  ['another one', 1.1, 'EUR', 110],
  ['nothing', 0, 'USD', 0],
  ['a text', '10.50', 'USD', 1050],
  ['a text with zeros behind the digits of the currency', '10.500000', 'USD', 1050],
  ['no digits, a float', 1200.0, 'JPY', 1200],
  ['no digits, a text with zeros', '1200.00', 'JPY', 1200],
  ['three digits', 1.234, 'KWD', 1234],
  ['three digits that CLDR does not know', 1.234, 'IQD', 1234],
  ['two digits that CLDR does not know', 1.25, 'HUF', 125],
  ['four digits', 1.2345, 'CLF', 12345],
  ['a currency that is not in the list has two', 7.25, 'XTS', 725],
  ['the largest amount that is counted exactly', '90071992547409.91', 'USD', Number.MAX_SAFE_INTEGER],
];

for (const [reason, amount, currency, minor] of AMOUNTS) {
  test(`an amount becomes minor units: ${reason}`, () => {
    assert.is(minorUnits(amount, currency, '/a'), minor);
  });
}

const NO_AMOUNTS: [reason: string, amount: unknown, currency: string][] = [
  ['the dust of 0.1 + 0.2', 0.1 + 0.2, 'USD'],
  ['more digits than the currency has', 1.234, 'USD'],
  ['a fraction of a currency without one', 1.5, 'JPY'],
  ['negative', -1, 'USD'],
  ['a negative text', '-1.00', 'USD'],
  ['so large that it prints with an exponent', 1e21, 'USD'],
  ['so small that it prints with an exponent', 1e-7, 'USD'],
  ['more than is counted exactly', '90071992547409.92', 'USD'],
  ['an exponent in a text', '1e3', 'USD'],
  ['hexadecimal', '0x10', 'USD'],
  ['empty', '', 'USD'],
  ['white space', ' 1', 'USD'],
  ['a thousands separator', '1,000', 'USD'],
  ['null', null, 'USD'],
  ['absent', undefined, 'USD'],
  ['not a number', Number.NaN, 'USD'],
  ['infinite', Number.POSITIVE_INFINITY, 'USD'],
  ['an object', {}, 'USD'],
  ['no currency', 1, ''],
  ['a currency in small letters', 1, 'usd'],
  ['no currency code', 1, 'dollars'],
];

for (const [reason, amount, currency] of NO_AMOUNTS) {
  test(`an amount is refused with its pointer: ${reason}`, () => {
    assert.is(
      refusal(() => minorUnits(amount, currency, '/a')),
      '422 payload_incomplete /a',
    );
  });
}

test('every amount with the digits of its currency survives as text and as float', () => {
  const cents = fc.integer({ min: 0, max: 999_999_999 });
  fc.assert(
    fc.property(cents, fc.constantFrom<[string, number]>(['JPY', 0], ['USD', 2], ['KWD', 3]), (minor, currency) => {
      const [code, digits] = currency;
      const text = String(minor).padStart(digits + 1, '0');
      const decimal = digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
      assert.is(minorUnits(decimal, code, '/a'), minor);
      assert.is(minorUnits(Number(decimal), code, '/a'), minor);
    }),
  );
});

test('the event-style and the typed delivery of one order say the same', () => {
  const { event: _flat, issuedAt: _at, ...flat } = parseDelivery(recorded('01-order21-fully-paid'));
  const { event, issuedAt: _typedAt, ...typed } = parseDelivery(recorded('01-order21-fully-paid-typed'));
  assert.equal(typed, flat);
  assert.is(event, 'order_fully_paid');
});

test('a recorded order is read with its tenant, customer, money, lines and credits', () => {
  const parsed = parseDelivery(recorded('01-order21-fully-paid')).order;
  assert.equal(parsed, {
    id: 'T3JkZXI6YzAxMTEyZWItNjViNi00OTE2LWE0NzgtY2RjYTEzMDA2NzRi',
    number: '21',
    created: '2026-11-23T07:51:18.669697+00:00',
    paid: true,
    cancelled: false,
    total: { minor: 22900, currency: 'USD' },
    charged: { minor: 22900, currency: 'USD' },
    userEmail: 'buyer@example.com',
    tenant: 'acme',
    lines: [
      { id: 'T3JkZXJMaW5lOjM3MzE5ODE2LTNiYjAtNGNjYS1hNGNmLWQ5ZDZmNWIxODEwMA==', sku: 'CLAIMS-PRO', quantity: 1 },
      {
        id: 'T3JkZXJMaW5lOjg2M2JiODcxLWEzNTAtNDViNi04MjViLWJkNzkzNWE3OGY5Yw==',
        sku: 'CREDITS-1000',
        quantity: 3,
        credits: 1000,
      },
    ],
  });
});

test('the legacy array is refused as such', () => {
  assert.is(
    refusal(() => parseDelivery(recorded('01-order21-fully-paid-legacy'))),
    '422 legacy_payload',
  );
});

const PAID: [reason: string, edit: (event: Event) => void, paid: boolean][] = [
  ['fully charged', () => {}, true],
  ['charged too much', (event) => Object.assign(event.order, { chargeStatus: 'OVERCHARGED' }), true],
  ['partly charged', (event) => Object.assign(event.order, { chargeStatus: 'PARTIAL' }), false],
  ['not charged', (event) => Object.assign(event.order, { chargeStatus: 'NONE' }), false],
  ['the two facts disagree', (event) => Object.assign(event.order, { isPaid: false }), false],
  ['isPaid is no boolean', (event) => Object.assign(event.order, { isPaid: 'true' }), false],
];

for (const [reason, edit, paid] of PAID) {
  test(`an order is ${paid ? '' : 'not '}paid: ${reason}`, () => {
    assert.is(order(edit).paid, paid);
  });
}

const numeric = (values: unknown) => ({ attributes: [{ attribute: { slug: 'credits' }, values }] });
const CREDITS: [reason: string, variant: unknown, credits: number | undefined][] = [
  ['the recorded form', numeric([{ slug: 'productvariant-404_51', name: '1000' }]), 1000],
  ['with a fraction', numeric([{ name: '1.1' }]), 1.1],
  ['unset', numeric([]), undefined],
  ['without values', { attributes: [{ attribute: { slug: 'credits' } }] }, undefined],
  ['a value without a name', numeric([{ name: null }]), undefined],
  ['another attribute', { attributes: [{ attribute: { slug: 'plan' }, values: [{ name: '7' }] }] }, undefined],
  ['no attributes', {}, undefined],
  ['no variant: it was deleted in the shop', null, undefined],
  ['typed', { assignedAttributes: [{ attribute: { slug: 'credits' }, value: 1000 }] }, 1000],
  ['typed and unset', { assignedAttributes: [{ attribute: { slug: 'credits' }, value: null }] }, undefined],
  ['empty text', numeric([{ name: '' }]), Number.NaN],
  ['white space', numeric([{ name: ' ' }]), Number.NaN],
  ['words', numeric([{ name: 'a thousand' }]), Number.NaN],
  ['a thousands separator', numeric([{ name: '1,000' }]), Number.NaN],
  ['an exponent', numeric([{ name: '1e3' }]), Number.NaN],
  ['hexadecimal', numeric([{ name: '0x3e8' }]), Number.NaN],
  ['negative', numeric([{ name: '-1000' }]), Number.NaN],
  ['an object that cannot be printed', numeric([{ name: { toString: 1 } }]), Number.NaN],
  ['rubbish between the attributes', { attributes: [null, 1, { attribute: null }] }, undefined],
];

for (const [reason, variant, credits] of CREDITS) {
  test(`the credits of a variant are ${credits}: ${reason}`, () => {
    const line = order((event) => Object.assign(event.order.lines[0], { variant })).lines[0] as ShopLine;
    assert.equal(line.credits, credits);
    assert.is('credits' in line, credits !== undefined);
  });
}

const TENANTS: [reason: string, metadata: unknown, tenant: string | undefined][] = [
  ['named', [{ key: 'tenant', value: 'acme' }], 'acme'],
  [
    'named among others',
    [
      { key: 'a', value: 'b' },
      { key: 'tenant', value: 'globex' },
    ],
    'globex',
  ],
  ['empty', [{ key: 'tenant', value: '' }], undefined],
  ['another key', [{ key: 'Tenant', value: 'acme' }], undefined],
  ['none', [], undefined],
  ['not asked for', undefined, undefined],
  ['no list', 'tenant=acme', undefined],
  ['rubbish', [null, 3], undefined],
];

for (const [reason, metadata, tenant] of TENANTS) {
  test(`the tenant is ${tenant}: ${reason}`, () => {
    assert.is(order((event) => Object.assign(event.order, { metadata })).tenant, tenant);
  });
}

test('a line says in its metadata which Instance it renews', () => {
  const renews = (metadata: unknown) =>
    order((event) => Object.assign(event.order.lines[0], { metadata })).lines.map((line) => line.renews);
  const [named, ...others] = renews([{ key: 'renews', value: 'claims-agent-0f0f0f0f' }]);
  assert.equal([named, ...new Set(others)].filter(Boolean), ['claims-agent-0f0f0f0f']);
  for (const none of [undefined, [], [{ key: 'renews', value: '' }]]) assert.is(renews(none)[0], undefined);
});

const INCOMPLETE: [pointer: string, edit: (event: Event) => void][] = [
  ['/__typename', (event) => delete event.__typename],
  ['/__typename', (event) => Object.assign(event, { __typename: 'Order Fully Paid' })],
  ['/issuedAt', (event) => delete event.issuedAt],
  ['/issuedAt', (event) => Object.assign(event, { issuedAt: 'yesterday' })],
  ['/order', (event) => delete event.order],
  ['/order', (event) => Object.assign(event, { order: null })],
  ['/order/id', (event) => delete event.order.id],
  ['/order/id', (event) => Object.assign(event.order, { id: 7 })],
  ['/order/id', (event) => Object.assign(event.order, { id: 'x'.repeat(254) })],
  ['/order/id', (event) => Object.assign(event.order, { id: 'a\u0000b' })],
  ['/order/id', (event) => Object.assign(event.order, { id: 'a\ud800' })],
  ['/order/number', (event) => delete event.order.number],
  ['/order/created', (event) => Object.assign(event.order, { created: '2026-11-23' })],
  ['/order/created', (event) => Object.assign(event.order, { created: '2026-11-23T07:51:18' })],
  ['/order/created', (event) => Object.assign(event.order, { created: '2026-13-23T07:51:18Z' })],
  ['/order/status', (event) => delete event.order.status],
  ['/order/userEmail', (event) => Object.assign(event.order, { userEmail: ['buyer@example.com'] })],
  ['/order/metadata/0/value', (event) => Object.assign(event.order.metadata[0], { value: 5 })],
  ['/order/total', (event) => delete event.order.total],
  ['/order/total/currency', (event) => delete event.order.total.currency],
  ['/order/total/gross', (event) => delete event.order.total.gross],
  ['/order/total/gross/amount', (event) => Object.assign(event.order.total.gross, { amount: null })],
  ['/order/totalCharged', (event) => delete event.order.totalCharged],
  ['/order/totalCharged/amount', (event) => Object.assign(event.order.totalCharged, { amount: -1 })],
  ['/order/lines', (event) => delete event.order.lines],
  ['/order/lines', (event) => Object.assign(event.order, { lines: Array.from({ length: 501 }, () => ({})) })],
  ['/order/lines/0', (event) => Object.assign(event.order, { lines: [null] })],
  ['/order/lines/0/id', (event) => delete event.order.lines[0].id],
  ['/order/lines/0/quantity', (event) => Object.assign(event.order.lines[0], { quantity: 1.5 })],
  ['/order/lines/0/quantity', (event) => Object.assign(event.order.lines[0], { quantity: -1 })],
  ['/order/lines/0/quantity', (event) => Object.assign(event.order.lines[0], { quantity: '1' })],
  ['/order/lines/0/quantity', (event) => Object.assign(event.order.lines[0], { quantity: 1e300 })],
  ['/order/lines/0/productSku', (event) => delete event.order.lines[0].productSku],
  ['/order/lines/0/productSku', (event) => Object.assign(event.order.lines[0], { productSku: 3 })],
];

for (const [pointer, edit] of INCOMPLETE) {
  test(`what is missing or wrong is named by its pointer: ${pointer}, ${edit.toString().slice(0, 90)}`, () => {
    assert.is(
      refusal(() => parseDelivery(delivery(edit))),
      `422 payload_incomplete ${pointer}`,
    );
  });
}

test('the SKU of the variant stands in for a line that has none of its own', () => {
  const { lines } = order((event) =>
    Object.assign(event.order.lines[0], { productSku: null, variant: { sku: 'CLAIMS-PRO' } }),
  );
  assert.is(lines[0]?.sku, 'CLAIMS-PRO');
});

test('an order of a guest without an email has an empty one, which nobody has', () => {
  assert.is(order((event) => Object.assign(event.order, { userEmail: null })).userEmail, '');
});

test('an event that is not about an order is read without one', () => {
  assert.equal(parseDelivery(recorded('16-product-updated')).order, undefined);
  assert.is(parseDelivery(recorded('16-product-updated')).event, 'product_updated');
});

test('whatever the bytes say, the answer is a delivery or a Problem', () => {
  const attempt = (raw: Uint8Array): void => {
    assert.is.not(
      refusal(() => parseDelivery(raw)),
      '',
    );
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), attempt));
  fc.assert(fc.property(fc.jsonValue(), (value) => attempt(bytes(value))));
  fc.assert(fc.property(fc.anything(), (value) => attempt(Buffer.from(JSON.stringify({ data: { x: value } }) ?? ''))));
});

test('whichever part of an order is replaced by anything, the answer is a delivery or a Problem', () => {
  const whole = JSON.parse(delivery().toString()) as Event;
  const paths: string[][] = [];
  const walk = (value: unknown, path: string[]): void => {
    paths.push(path);
    if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) walk(inner, [...path, key]);
  };
  walk(whole, []);
  fc.assert(
    fc.property(fc.constantFrom(...paths.slice(1)), fc.jsonValue(), (path, value) => {
      const broken = structuredClone(whole);
      let parent: Event = broken;
      for (const key of path.slice(0, -1)) parent = parent[key];
      parent[path.at(-1) ?? ''] = value;
      assert.is.not(
        refusal(() => parseDelivery(bytes(broken))),
        '',
      );
    }),
    { numRuns: 2000 },
  );
});
