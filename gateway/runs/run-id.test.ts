import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Caller } from '../identity/caller.ts';
import { idempotencyKey, keyedRunId } from './run-id.ts';
import { continueTrace } from './trace.ts';

const caller = (subject: string): Caller => ({ subject, emailVerified: false, groups: [] });

test('a run id is the same for the same attempt and differs with each part of its scope', () => {
  const ids = [
    keyedRunId('uid', caller('a'), 'k', 0),
    keyedRunId('uid-2', caller('a'), 'k', 0),
    keyedRunId('uid', caller('b'), 'k', 0),
    keyedRunId('uid', caller('a'), 'k2', 0),
    keyedRunId('uid', caller('a'), 'k', 1),
    // Parts must not run into each other.
    keyedRunId('ui', caller('da'), 'k', 0),
  ];
  assert.is(new Set(ids).size, ids.length);
  assert.is(keyedRunId('uid', caller('a'), 'k', 0), ids[0]);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

for (const key of ['', ' ', 'a b', 'ä', 'x'.repeat(256)])
  test(`the key ${JSON.stringify(key.slice(0, 5))} (${key.length}) is refused`, () => {
    assert.throws(() => idempotencyKey(key));
  });

for (const [reason, header, continued] of [
  ['a good one', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00', true],
  ['a later version with more fields', '01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x', true],
  ['version 00 with more fields', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x', false],
  ['the forbidden version', 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', false],
  ['a trace of zeros', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`, false],
  ['upper case', '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01', false],
  ['nothing', undefined, false],
] as const)
  test(`traceparent: ${reason} is ${continued ? 'continued' : 'replaced'}`, () => {
    const trace = continueTrace(header);
    assert.is(trace.traceId === '0af7651916cd43dd8448eb211c80319c', continued);
    assert.match(trace.traceparent, new RegExp(`^00-${trace.traceId}-[0-9a-f]{16}-0[01]$`));
    assert.not.match(trace.traceparent, /b7ad6b7169203331/);
  });
