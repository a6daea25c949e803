import { Writable } from 'node:stream';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger, scrubText } from './log.ts';

const SECRET = 'hunter2hunter2';

function logged(write: (log: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  write(createLogger({ part: 'test', level: 'trace', destination }));
  return text;
}

const jwt = `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.${'a'.repeat(20)}`;

const CASES: [reason: string, write: (log: ReturnType<typeof createLogger>) => void][] = [
  ['a field named token', (log) => log.info({ token: SECRET }, 'x')],
  ['a field one level down', (log) => log.info({ request: { authorization: `Bearer ${SECRET}` } }, 'x')],
  ['a field two levels down', (log) => log.info({ a: { b: { password: SECRET } } }, 'x')],
  ['a bearer token in an error', (log) => log.error({ err: new Error(`refused Bearer ${SECRET}`) }, 'x')],
  ['a password in the URL of an error', (log) => log.error({ err: new Error(`postgres://app:${SECRET}@db/x`) }, 'x')],
  ['the cause of an error', (log) => log.error({ err: new Error('a', { cause: new Error(`Bearer ${SECRET}`) }) }, 'x')],
];

for (const [reason, write] of CASES) {
  test(`a secret does not reach the log: ${reason}`, () => {
    const text = logged(write);
    assert.match(text, '"part":"test"');
    assert.not.match(text, SECRET);
  });
}

test('a JWT in a text is taken out', () => {
  assert.is(scrubText(`token ${jwt} refused`), 'token [redacted jwt] refused');
});

test('an ordinary sentence stays as it is', () => {
  const sentence = 'the wallet acme.main has 12 microcredits at https://store.example/path';
  assert.is(scrubText(sentence), sentence);
});
