import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { steadyWords } from './words.ts';

const PAIRS: [why: string, one: string, other: string][] = [
  ['the clock of a retry', 'boom. Retrying attempt #1 at 9:14PM.', 'boom. Retrying attempt #2 at 9:15PM.'],
  ['the count of retries', 'boom (retried 1 times).', 'boom (retried 5 times).'],
  [
    'the drawn name of a pod',
    'pods "i-claims-5c689d88bb-abcde" is forbidden: exceeded quota: project',
    'pods "i-claims-5c689d88bb-zzzzz" is forbidden: exceeded quota: project',
  ],
  [
    'what a quota has used',
    'exceeded quota: project, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4',
    'exceeded quota: project, requested: limits.cpu=2, used: limits.cpu=4, limited: limits.cpu=4',
  ],
  ['a time', 'expired at 2026-01-01T00:00:00Z', 'expired at 2026-01-02T11:22:33.5+02:00'],
  [
    'an ephemeral port',
    'read tcp 10.0.0.1:41234->10.0.0.2:8200: reset',
    'read tcp 10.0.0.1:51235->10.0.0.2:8200: reset',
  ],
];

for (const [why, one, other] of PAIRS)
  test(`words are steady: ${why} does not change them`, () => {
    assert.not.equal(one, other);
    assert.is(steadyWords(one), steadyWords(other));
  });

test('words are one bounded line without credentials', () => {
  const words = steadyWords(
    `a\nb\thttps://user:pa55@git.example.com/r.git hvs.CAESIJ1234567890 Bearer abcdefgh12345678 ${'x'.repeat(5000)}`,
  );
  assert.match(words, /^a b https:\/\//);
  assert.is(words.length, 1024);
  for (const secret of ['pa55', 'hvs.', 'abcdefgh12345678']) assert.not.match(words, secret);
});

test('what differs in substance still differs', () => {
  assert.not.equal(
    steadyWords('exceeded quota: project, requested: limits.cpu=2, used: a=1, limited: limits.cpu=4'),
    steadyWords('exceeded quota: project, requested: limits.cpu=3, used: a=1, limited: limits.cpu=4'),
  );
});
