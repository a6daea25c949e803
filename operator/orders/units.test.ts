import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import type { ShopLine, ShopOrder } from '../../config/saleor.ts';
import type { CreditPack, Offering, OfferingVersion } from '../../crds/kinds.ts';
import { type Catalog, endOfPeriod, instanceName, MAX_UNITS, type Unit, unitsOf } from './units.ts';

const SHOP = 'https://shop.example.com/graphql/';
const CREDIT = 1_000_000;

function offering(name: string, spec: Partial<Offering['spec']> = {}): Offering {
  return {
    metadata: { name },
    spec: {
      category: 'Agent',
      display: { title: name },
      lifecycle: 'Published',
      channel: '1.0.0',
      skus: [
        { sku: 'STARTER', plan: 'starter' },
        { sku: 'PRO', plan: 'pro' },
      ],
      ...spec,
    },
  } as Offering;
}

function version(of: string, number: string, plans: object[]): OfferingVersion {
  return {
    metadata: { name: `${of}-${number}` },
    spec: { offeringRef: { name: of }, version: number, plans },
  } as unknown as OfferingVersion;
}

function pack(name: string, spec: Partial<CreditPack['spec']> = {}): CreditPack {
  return {
    metadata: { name },
    spec: { sku: 'PACK', amountMicrocredits: 1000 * CREDIT, kind: 'Purchased', ...spec },
  } as CreditPack;
}

const PLANS = [
  { name: 'starter', includedMicrocredits: 500 * CREDIT, period: 'Year' },
  { name: 'pro', includedMicrocredits: 0 },
];

const CATALOG: Catalog = {
  offerings: [offering('claims-agent')],
  versions: [version('claims-agent', '1.0.0', PLANS), version('claims-agent', '2.0.0', [])],
  packs: [pack('credits', { expiresAfterDays: 365, maxPerOrder: 5 })],
};

function order(...lines: (Partial<ShopLine> & { sku: string })[]): ShopOrder {
  return {
    id: 'T3JkZXI6MQ==',
    number: '1',
    created: '2026-11-23T07:51:18.669697+00:00',
    paid: true,
    cancelled: false,
    charged: { minor: 100, currency: 'USD' },
    total: { minor: 100, currency: 'USD' },
    userEmail: 'buyer@example.com',
    tenant: 'acme',
    lines: lines.map((line, index) => ({ id: `line-${index}`, quantity: 1, ...line })),
  };
}

const of = (lines: (Partial<ShopLine> & { sku: string })[], catalog: Partial<Catalog> = {}) =>
  unitsOf(order(...lines), SHOP, { ...CATALOG, ...catalog });

test('a line of packs has one unit with one grant for each pack', () => {
  const { units, parked } = of([{ sku: 'PACK', quantity: 3, credits: 1000 }]);
  assert.equal(parked, []);
  const grants = [{ amount: 1000 * CREDIT, kind: 'purchased', expiresAt: '2027-11-23T07:51:18.669Z' }];
  assert.equal(units, [0, 1, 2].map((ordinal) => ({ line: 'line-0', ordinal, sku: 'PACK', grants })) as Unit[]);
});

test('a line of a plan has one unit for each Instance, paid through the period, with the included credits', () => {
  const { units, parked } = of([{ sku: 'STARTER', quantity: 2 }]);
  assert.equal(parked, []);
  const paidThrough = '2027-11-23T07:51:18.669Z';
  assert.equal(
    units,
    [0, 1].map((ordinal) => ({
      line: 'line-0',
      ordinal,
      sku: 'STARTER',
      grants: [{ amount: 500 * CREDIT, kind: 'included', priority: 50, expiresAt: paidThrough }],
      plan: {
        offering: 'claims-agent',
        plan: 'starter',
        instance: instanceName('claims-agent', SHOP, 'line-0', ordinal),
        paidThrough,
      },
    })) as Unit[],
  );
});

test('a plan without credits and period grants nothing and never ends', () => {
  const [unit] = of([{ sku: 'PRO' }]).units;
  assert.equal(unit?.grants, []);
  assert.is(unit?.plan?.plan, 'pro');
  assert.not('paidThrough' in (unit?.plan ?? {}));
});

test('a promotional pack, its scope and a pack without an end are taken over', () => {
  const scoped = pack('gift', { kind: 'Promotional', scope: { offerings: ['claims-agent'] } });
  const { units } = of([{ sku: 'PACK' }], { packs: [scoped] });
  assert.equal(units[0]?.grants, [
    { amount: 1000 * CREDIT, kind: 'promotional', scope: { offerings: ['claims-agent'] } },
  ]);
});

test('the lines of an order are judged one by one, in their order', () => {
  const { units, parked } = of([{ sku: 'PRO' }, { sku: 'NOTHING' }, { sku: 'PACK' }]);
  assert.equal(
    units.map(({ line }) => line),
    ['line-0', 'line-2'],
  );
  assert.equal(
    parked.map(({ line, reason }) => `${line} ${reason}`),
    ['line-1 SkuUnknown'],
  );
});

test('a line of nothing has no unit and waits for nobody', () => {
  assert.equal(of([{ sku: 'PACK', quantity: 0 }]), { units: [], parked: [] });
  assert.equal(of([]), { units: [], parked: [] });
});

const PARKED: [reason: string, why: string, line: Partial<ShopLine> & { sku: string }, catalog: Partial<Catalog>][] = [
  ['SkuUnknown', 'nothing carries the SKU', { sku: 'OTHER' }, {}],
  ['SkuUnknown', 'SKUs are compared to the letter', { sku: 'pack' }, {}],
  ['SkuAmbiguous', 'two packs', { sku: 'PACK' }, { packs: [pack('a'), pack('b')] }],
  ['SkuAmbiguous', 'a pack and a plan', { sku: 'STARTER' }, { packs: [pack('a', { sku: 'STARTER' })] }],
  ['SkuAmbiguous', 'two offerings', { sku: 'STARTER' }, { offerings: [offering('claims-agent'), offering('other')] }],
  ['CreditMismatch', 'the shop promises more', { sku: 'PACK', credits: 1001 }, {}],
  ['CreditMismatch', 'the shop promises less', { sku: 'PACK', credits: 999.999999 }, {}],
  ['CreditMismatch', 'the shop promises what is no number', { sku: 'PACK', credits: Number.NaN }, {}],
  ['CreditMismatch', 'the shop promises nothing', { sku: 'PACK', credits: 0 }, {}],
  ['PackLimitExceeded', 'more packs than one order may have', { sku: 'PACK', quantity: 6 }, {}],
  ['QuantityTooLarge', 'more units than one order may have', { sku: 'PRO', quantity: MAX_UNITS + 1 }, {}],
  ['QuantityTooLarge', 'a quantity that no list could hold', { sku: 'PRO', quantity: Number.MAX_SAFE_INTEGER }, {}],
  [
    'PlanUnknown',
    'the version has no such plan',
    { sku: 'X' },
    {
      offerings: [offering('claims-agent', { skus: [{ sku: 'X', plan: 'gold' }] })],
    },
  ],
  [
    'OfferingNotSellable',
    'no version in the channel',
    { sku: 'PRO' },
    {
      offerings: [offering('claims-agent', { channel: '9.9.9' })],
    },
  ],
  [
    'OfferingNotSellable',
    'the version of the channel is another offering’s',
    { sku: 'PRO' },
    {
      versions: [version('other', '1.0.0', PLANS)],
    },
  ],
  ...(['Draft', 'Paused', 'EndOfSale', 'EndOfLife'] as const).map((lifecycle): (typeof PARKED)[number] => [
    'OfferingNotSellable',
    `the offering is ${lifecycle}`,
    { sku: 'PRO' },
    { offerings: [offering('claims-agent', { lifecycle })] },
  ]),
  [
    'OfferingNotSellable',
    'its sale had ended when it was ordered',
    { sku: 'PRO' },
    { offerings: [offering('claims-agent', { lifecycle: 'Published', endOfSaleTime: '2020-01-01T00:00:00Z' })] },
  ],
];

for (const [reason, why, line, catalog] of PARKED) {
  test(`a line is parked as ${reason}: ${why}`, () => {
    const { units, parked } = of([line], catalog);
    assert.equal(units, []);
    assert.equal(
      parked.map((each) => [each.reason, each.line]),
      [[reason, 'line-0']],
    );
  });
}

test('a pack without a limit of its own may be bought up to the limit of an order', () => {
  assert.is(of([{ sku: 'PACK', quantity: MAX_UNITS }], { packs: [pack('a')] }).units.length, MAX_UNITS);
});

test('the limit of units counts all lines of an order', () => {
  const { units, parked } = of([
    { sku: 'PRO', quantity: MAX_UNITS },
    { sku: 'PRO', quantity: 1 },
  ]);
  assert.is(units.length, MAX_UNITS);
  assert.equal(
    parked.map(({ line, reason }) => [line, reason]),
    [['line-1', 'QuantityTooLarge']],
  );
});

test('credits with a fraction are compared without the dust of a multiplication', () => {
  const amounts = fc.integer({ min: 1, max: 9_000_000_000_000_000 });
  fc.assert(
    fc.property(amounts, (amountMicrocredits) => {
      const text = String(amountMicrocredits).padStart(7, '0');
      const credits = Number(`${text.slice(0, -6)}.${text.slice(-6)}`);
      assert.is(of([{ sku: 'PACK', credits }], { packs: [pack('a', { amountMicrocredits })] }).units.length, 1);
    }),
  );
});

test('an Instance is named by its offering and the digest of its unit', () => {
  const digest = createHash('sha256').update(`${SHOP}|line-0|7`).digest('hex');
  assert.is(instanceName('claims-agent', SHOP, 'line-0', 7), `claims-agent-${digest.slice(0, 8)}`);
  assert.is(instanceName('claims-agent', 'http://127.0.0.1:8000/graphql/', 'TGluZTox', 0), 'claims-agent-1248f444');
});

const PERIODS: [reason: string, from: string, period: 'None' | 'Month' | 'Year', end: string | undefined][] = [
  ['no period', '2026-01-31T10:00:00Z', 'None', undefined],
  ['a month', '2026-11-23T07:51:18Z', 'Month', '2026-12-23T07:51:18.000Z'],
  ['a month over the end of the year', '2026-12-31T07:51:18Z', 'Month', '2027-01-31T07:51:18.000Z'],
  ['a month that lacks the day', '2026-01-31T07:51:18Z', 'Month', '2026-02-28T07:51:18.000Z'],
  ['a month that lacks the day in a leap year', '2028-01-30T07:51:18Z', 'Month', '2028-02-29T07:51:18.000Z'],
  ['a short month into a long one keeps the day', '2026-02-28T07:51:18Z', 'Month', '2026-03-28T07:51:18.000Z'],
  ['a month of 30 days', '2026-05-31T23:59:59.999Z', 'Month', '2026-06-30T23:59:59.999Z'],
  ['a year', '2026-11-23T07:51:18Z', 'Year', '2027-11-23T07:51:18.000Z'],
  ['a year from the leap day', '2028-02-29T00:00:00Z', 'Year', '2029-02-28T00:00:00.000Z'],
  ['a year into a leap year', '2027-02-28T00:00:00Z', 'Year', '2028-02-28T00:00:00.000Z'],
  ['no leap day in a century', '2099-02-28T00:00:00Z', 'Year', '2100-02-28T00:00:00.000Z'],
  ['days are those of UTC', '2026-01-31T23:30:00-05:00', 'Month', '2026-03-01T04:30:00.000Z'],
];

for (const [reason, from, period, end] of PERIODS) {
  test(`a paid period ends: ${reason}`, () => {
    assert.is(endOfPeriod(from, period), end);
  });
}

test('a period ends after its start and within its length, whenever it starts', () => {
  const times = fc.date({ min: new Date('2000-01-01'), max: new Date('2200-01-01'), noInvalidDate: true });
  fc.assert(
    fc.property(
      times,
      fc.constantFrom<['Month' | 'Year', number, number]>(['Month', 28, 31], ['Year', 365, 366]),
      (at, [period, least, most]) => {
        const days = (Date.parse(endOfPeriod(at.toISOString(), period) ?? '') - at.getTime()) / 86_400_000;
        assert.ok(days >= least && days <= most, `${at.toISOString()} + ${period} = ${days} days`);
      },
    ),
  );
});

test('the same order always has the same units, each with its own key and name', () => {
  const lines = fc.array(
    fc.record({
      sku: fc.constantFrom('PACK', 'STARTER', 'PRO', 'OTHER'),
      quantity: fc.integer({ min: 0, max: 7 }),
    }),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(lines, (drawn) => {
      const first = of(drawn);
      assert.equal(of(structuredClone(drawn)), first);
      const keys = first.units.map(({ line, ordinal }) => `${line}|${ordinal}`);
      assert.is(new Set(keys).size, keys.length);
      const names = first.units.flatMap(({ plan }) => (plan ? [plan.instance] : []));
      assert.is(new Set(names).size, names.length);
      const parked = new Set(first.parked.map(({ line }) => line));
      for (const [index, { quantity }] of drawn.entries()) {
        const made = first.units.filter(({ line }) => line === `line-${index}`).length;
        assert.is(made, parked.has(`line-${index}`) ? 0 : quantity);
      }
    }),
  );
});
