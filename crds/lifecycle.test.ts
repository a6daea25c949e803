import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { effectiveLifecycle, nextLifecycleChangeMs, type OfferingLifecycle } from './lifecycle.ts';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const BEFORE = '2026-06-01T12:00:00Z';
const AFTER = '2026-06-01T14:00:01+02:00';
const LATER = '2026-06-02T00:00:00Z';

type Times = { endOfSaleTime?: string; endOfLifeTime?: string };
const CASES: [reason: string, spec: OfferingLifecycle, times: Times, now: OfferingLifecycle, nextMs?: number][] = [
  ['without times the spec holds', 'Published', {}, 'Published'],
  ['a time that has come ends the sale', 'Published', { endOfSaleTime: BEFORE }, 'EndOfSale'],
  ['a time that has not come ends nothing yet', 'Published', { endOfSaleTime: AFTER }, 'Published', 1_000],
  ['life ends although the sale was never said to', 'Published', { endOfLifeTime: BEFORE }, 'EndOfLife'],
  ['a paused sale ends too', 'Paused', { endOfSaleTime: BEFORE, endOfLifeTime: AFTER }, 'EndOfSale', 1_000],
  ['the nearer time is the next', 'Published', { endOfSaleTime: AFTER, endOfLifeTime: LATER }, 'Published', 1_000],
  ['an ended sale leads to the end of life', 'EndOfSale', { endOfLifeTime: BEFORE }, 'EndOfLife'],
  ['an end that was said early is not undone by its time', 'EndOfLife', { endOfLifeTime: LATER }, 'EndOfLife'],
  ['a draft was never sold', 'Draft', { endOfSaleTime: BEFORE, endOfLifeTime: LATER }, 'Draft'],
];

for (const [reason, lifecycle, times, expected, nextMs] of CASES)
  test(`${lifecycle}: ${reason}`, () => {
    assert.is(effectiveLifecycle({ lifecycle, ...times }, NOW), expected);
    assert.is(nextLifecycleChangeMs({ lifecycle, ...times }, NOW), nextMs);
  });
