import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { Problem } from '../config/problem.ts';
import { Secret } from '../config/settings.ts';
import { authorize, fileTokens, SCOPES, singleToken } from './tokens.ts';

const folder = mkdtempSync(join(tmpdir(), 'gsv-tokens-'));
after(() => rmSync(folder, { recursive: true }));

const lines: string[] = [];
const log = createLogger({ part: 'test', destination: { write: (line: string) => void lines.push(line) } });
const path = join(folder, 'tokens.json');

/** As Kubernetes does it: a new file takes the place of the old one. */
function replace(content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

function problemOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Problem) return `${error.status} ${error.code}`;
    throw error;
  }
  return 'none';
}

test('a token has the scopes that the file gives it', () => {
  replace(JSON.stringify({ 'operator-token': ['wallets', 'read'], 'runner-token': ['capture'] }));
  const tokens = fileTokens(path, log);
  assert.equal([...tokens.authenticate('Bearer operator-token')], ['wallets', 'read']);
  assert.equal([...tokens.authenticate('bearer runner-token')], ['capture']);
});

const strangers = [
  { reason: 'no header', header: undefined },
  { reason: 'an empty token', header: 'Bearer ' },
  { reason: 'another scheme', header: 'Basic operator-token' },
  { reason: 'the beginning of a token', header: 'Bearer operator-toke' },
  { reason: 'a token with more behind it', header: 'Bearer operator-token x' },
  { reason: 'a name of Object', header: 'Bearer constructor' },
];
for (const { reason, header } of strangers) {
  test(`${reason} is unauthenticated`, () => {
    replace(JSON.stringify({ 'operator-token': ['read'] }));
    const tokens = fileTokens(path, log);
    assert.is(
      problemOf(() => tokens.authenticate(header)),
      '401 unauthenticated',
    );
  });
}

test('a rotated file takes effect at once: the new token works, the old one ends', () => {
  replace(JSON.stringify({ 'token-one': ['read'] }));
  const tokens = fileTokens(path, log);
  replace(JSON.stringify({ 'token-one': ['read'], 'token-two': ['read'] }));
  assert.ok(tokens.authenticate('Bearer token-one'));
  assert.ok(tokens.authenticate('Bearer token-two'));
  replace(JSON.stringify({ 'token-two': ['read'] }));
  assert.is(
    problemOf(() => tokens.authenticate('Bearer token-one')),
    '401 unauthenticated',
  );
});

const unusable = [
  { reason: 'no JSON', content: '{"sneaky-token": [' },
  { reason: 'a list', content: '["sneaky-token"]' },
  { reason: 'no token', content: '{}' },
  { reason: 'scopes that are no list', content: '{"sneaky-token": "read"}' },
  { reason: 'an unknown scope', content: '{"sneaky-token": ["read", "everything"]}' },
  { reason: 'a short token', content: '{"sneaky": ["read"]}' },
  { reason: 'a token that breaks a header', content: '{"sneaky-token\\r\\nx: y": ["read"]}' },
];
for (const { reason, content } of unusable) {
  test(`a file with ${reason} is refused at start and ignored later, without printing it`, () => {
    replace(content);
    let message = '';
    try {
      fileTokens(path, log);
    } catch (error) {
      message = (error as Error).message;
    }
    assert.match(message, /must/);
    assert.not.match(message, 'sneaky');

    replace(JSON.stringify({ 'token-one': ['read'] }));
    const tokens = fileTokens(path, log);
    lines.length = 0;
    replace(content);
    assert.ok(tokens.authenticate('Bearer token-one'));
    assert.match(lines.join(), 'stay in force');
    assert.not.match(lines.join(), 'sneaky');
  });
}

test('a file that disappears leaves the tokens in force', () => {
  replace(JSON.stringify({ 'token-one': ['read'] }));
  const tokens = fileTokens(path, log);
  rmSync(path);
  assert.ok(tokens.authenticate('Bearer token-one'));
});

function instead(make: () => void): void {
  rmSync(path);
  make();
}

/** What a file can be for a moment, or for good by mistake. */
const moments: { reason: string; make: () => void }[] = [
  { reason: 'is empty because it is being written in place', make: () => writeFileSync(path, '') },
  {
    reason: 'is half written',
    make: () => writeFileSync(path, '{"token-one": ["read"], "token-two": ["re'),
  },
  {
    reason: 'has one bad entry among good ones',
    make: () => replace('{"token-two": ["read"], "token-three": ["read", "everything"]}'),
  },
  { reason: 'has a good entry and one that opens everything by a typo', make: () => replace('{"token-two": "*"}') },
  { reason: 'is a folder', make: () => instead(() => mkdirSync(path)) },
  { reason: 'is a link to itself', make: () => instead(() => symlinkSync(path, path)) },
  { reason: 'is a link to nothing', make: () => instead(() => symlinkSync(`${path}.gone`, path)) },
  { reason: 'is gone', make: () => rmSync(path) },
];
for (const { reason, make } of moments) {
  test(`while the file ${reason}, who was known stays known, nobody comes in, and the next good file counts`, () => {
    rmSync(path, { recursive: true, force: true });
    replace(JSON.stringify({ 'token-one': ['read'] }));
    const tokens = fileTokens(path, log);
    make();
    for (let call = 0; call < 3; call += 1) {
      assert.equal([...tokens.authenticate('Bearer token-one')], ['read']);
      for (const stranger of ['token-two', 'token-three', '', '*', 'undefined']) {
        assert.is(
          problemOf(() => tokens.authenticate(`Bearer ${stranger}`)),
          '401 unauthenticated',
        );
      }
    }
    rmSync(path, { recursive: true, force: true });
    replace(JSON.stringify({ 'token-two': ['events'] }));
    assert.equal([...tokens.authenticate('Bearer token-two')], ['events']);
    assert.is(
      problemOf(() => tokens.authenticate('Bearer token-one')),
      '401 unauthenticated',
    );
  });
}

test('the development token has every scope and follows its file', () => {
  let value = 'development';
  const tokens = singleToken(new Secret(() => value), log);
  assert.equal([...tokens.authenticate('Bearer development')], [...SCOPES]);
  value = 'rotated';
  assert.ok(tokens.authenticate('Bearer rotated'));
  assert.is(
    problemOf(() => tokens.authenticate('Bearer development')),
    '401 unauthenticated',
  );
});

test('a missing scope is forbidden and named', () => {
  try {
    authorize(new Set(['read']), 'holds');
    assert.unreachable('must be refused');
  } catch (error) {
    const problem = error as Problem;
    assert.equal([problem.status, problem.code, problem.extra], [403, 'forbidden', { scope: 'holds' }]);
  }
});
