import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { readArguments, USAGE, UsageError } from './arguments.ts';

const RIGHT: [reason: string, argv: string[], wanted: ReturnType<typeof readArguments>][] = [
  ['nothing', [], { once: false }],
  ['once', ['--once'], { once: true }],
  ['a recorded order', ['--order', 'a/b', '--jwks', 'c'], { once: false, order: 'a/b', jwks: 'c' }],
  ['with an equals sign', ['--order=a', '--jwks=c', '--once'], { once: true, order: 'a', jwks: 'c' }],
  [
    'a runtime and a flow',
    ['--runtime-url', 'http://127.0.0.1:7860', '--runtime-key', 'k', '--flow', 'f.json'],
    { once: false, runtime: { url: 'http://127.0.0.1:7860', key: 'k' }, flow: 'f.json' },
  ],
];

for (const [reason, argv, wanted] of RIGHT) {
  test(`arguments are read: ${reason}`, () => {
    assert.equal(readArguments(argv), wanted);
  });
}

const WRONG: [reason: string, argv: string[], says: RegExp][] = [
  ['an unknown option', ['--twice'], /--twice/],
  ['a stray word', ['once'], /once/],
  ['an order without keys', ['--order', 'a'], /--order and --jwks go together/],
  ['keys without an order', ['--jwks', 'a'], /--order and --jwks go together/],
  ['an order without a value', ['--order'], /--order/],
  ['a runtime without a key', ['--runtime-url', 'http://x'], /--runtime-url and --runtime-key go together/],
  ['a key without a runtime', ['--runtime-key', 'k'], /--runtime-url and --runtime-key go together/],
  [
    'a runtime that is no URL',
    ['--runtime-url', 'x', '--runtime-key', 'k'],
    /--runtime-url must be an http or https URL/,
  ],
  ['a runtime that is no HTTP', ['--runtime-url', 'file:///x', '--runtime-key', 'k'], /must be an http or https URL/],
  ['a value for a flag', ['--once=yes'], /--once/],
];

for (const [reason, argv, says] of WRONG) {
  test(`arguments are refused and the option is named: ${reason}`, () => {
    try {
      readArguments(argv);
    } catch (error) {
      assert.instance(error, UsageError);
      assert.match((error as Error).message, says);
      return;
    }
    assert.unreachable('it was accepted');
  });
}

test('the usage names every option', () => {
  for (const option of ['--once', '--order', '--jwks', '--runtime-url', '--runtime-key', '--flow']) {
    assert.match(USAGE, option);
  }
});
