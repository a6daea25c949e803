import { test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { amountOf, MAX_AMOUNT, priceLines, reserveMicrocredits, type Usage } from '../contract.ts';
import type { Dimension } from '../generated/kinds.ts';
import type { ContractConnector } from './document.ts';

const run: Dimension = {
  name: 'run',
  unit: 'run',
  source: 'Run',
  priceMicrocredits: 12_000,
  perUnits: 1,
  reserveUnits: 1,
};
const tokens: Dimension = {
  name: 'tokens-in',
  unit: 'token',
  source: 'InputToken',
  priceMicrocredits: 3,
  perUnits: 10,
  reserveUnits: 1001,
};
const call: Dimension = { ...run, name: 'call', source: 'ToolCall', priceMicrocredits: 7, reserveUnits: 0 };
const search: Dimension = { ...call, name: 'search', priceMicrocredits: 100 };

const connector: ContractConnector = {
  name: 'web',
  capability: 'one',
  protocol: 'MCP',
  url: 'https://example.com',
  auth: { kind: 'None' },
  tools: [{ name: 'search', schemaSha256: 'a'.repeat(64), dimension: 'search' }],
  egressHosts: [],
};
const contract = { dimensions: [call, run, search, tokens], connectors: [connector] };

const CASES: { reason: string; usage: Usage[]; lines: [string, number, number][] }[] = [
  { reason: 'no usage falls back to the run', usage: [], lines: [['run', 1, 12_000]] },
  {
    reason: 'one run is implied beside tokens',
    usage: [{ source: 'InputToken', units: 11 }],
    lines: [
      ['run', 1, 12_000],
      ['tokens-in', 11, 4],
    ],
  },
  {
    reason: 'usage is summed before it is rounded',
    usage: [
      { source: 'Run', units: 1 },
      { source: 'InputToken', units: 1 },
      { source: 'InputToken', units: 2 },
    ],
    lines: [
      ['run', 1, 12_000],
      ['tokens-in', 3, 1],
    ],
  },
  {
    reason: 'zero units make no line, except of the run',
    usage: [
      { source: 'Run', units: 0 },
      { source: 'InputToken', units: 0 },
    ],
    lines: [['run', 0, 0]],
  },
  {
    reason: 'usage without a price makes no line',
    usage: [{ source: 'Retrieval', units: 5 }],
    lines: [['run', 1, 12_000]],
  },
  {
    reason: 'a call without address has the common price',
    usage: [{ source: 'ToolCall', units: 2 }],
    lines: [
      ['call', 2, 14],
      ['run', 1, 12_000],
    ],
  },
  {
    reason: 'a call of a priced tool has its own price',
    usage: [{ source: 'ToolCall', units: 2, dimension: 'search' }],
    lines: [
      ['run', 1, 12_000],
      ['search', 2, 200],
    ],
  },
];

for (const { reason, usage, lines } of CASES) {
  test(reason, () => {
    assert.equal(
      priceLines(contract, usage).map((each) => [each.dimension, each.units, each.amount]),
      lines,
    );
  });
}

test('units that are no whole number >= 0 have no price', () => {
  for (const units of [-1, 0.5, Number.NaN, Number.MAX_SAFE_INTEGER + 1]) {
    const usage: Usage[] = [
      { source: 'InputToken', units: 10 },
      { source: 'InputToken', units },
    ];
    assert.throws(() => priceLines(contract, usage), RangeError);
  }
});

test('an amount is the smallest whole one that covers units x price / perUnits', () => {
  const positive = fc.integer({ min: 1, max: 2 ** 31 });
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.nat(2 ** 20), positive, (units, priceMicrocredits, perUnits) => {
      const amount = BigInt(amountOf({ priceMicrocredits, perUnits }, units));
      const product = BigInt(units) * BigInt(priceMicrocredits);
      assert.ok(amount * BigInt(perUnits) >= product);
      assert.ok(amount === 0n || (amount - 1n) * BigInt(perUnits) < product);
    }),
  );
});

test('money is exact up to 2^53 - 1 and refused beyond', () => {
  const exact = { priceMicrocredits: MAX_AMOUNT, perUnits: 1 };
  assert.is(amountOf(exact, 1), MAX_AMOUNT);
  assert.throws(() => amountOf(exact, 2), RangeError);
  assert.is(amountOf({ priceMicrocredits: MAX_AMOUNT, perUnits: 3 }, 3), MAX_AMOUNT);
});

test('the reserve rounds each dimension up by itself', () => {
  assert.is(reserveMicrocredits(contract), 12_000 + 301 + 100 * search.reserveUnits);
  assert.is(reserveMicrocredits({ dimensions: [] }), 0);
});
