import { test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { REDACTED, SCRUB_MIN_LENGTH, Scrubber } from './scrub.ts';

const SECRET = 'pä$$ w"rd/+1\n2';

const FORMS: { name: string; text: string }[] = [
  { name: 'as it is', text: SECRET },
  { name: 'JSON-escaped', text: JSON.stringify({ key: SECRET }) },
  { name: 'percent-encoded', text: `https://host/?k=${encodeURIComponent(SECRET)}` },
  { name: 'form-encoded', text: new URLSearchParams({ k: 'plain secret' }).toString() },
  { name: 'in hex', text: Buffer.from(SECRET).toString('hex') },
  { name: 'in base64', text: Buffer.from(SECRET).toString('base64') },
  { name: 'in base64url', text: Buffer.from(SECRET).toString('base64url') },
  { name: 'in base64 after one byte', text: Buffer.from(`u${SECRET}:rest`).toString('base64') },
  { name: 'in base64 after two bytes', text: Buffer.from(`us${SECRET}:rest`).toString('base64') },
];

for (const { name, text } of FORMS) {
  test(`a secret is removed ${name}`, () => {
    const scrubbed = new Scrubber([SECRET, 'plain secret']).text(`before ${text} after`);
    assert.ok(scrubbed.includes(REDACTED));
    assert.ok(scrubbed.startsWith('before ') && scrubbed.endsWith(' after'));
    assert.not.ok(scrubbed.includes(text));
  });
}

test('text without a secret passes unchanged and at once', () => {
  const stream = new Scrubber([SECRET]).stream();
  assert.is(stream.push('nothing to see here'), 'nothing to see here');
  assert.is(stream.end(), '');
});

test('a value below the minimum length is left alone', () => {
  const short = 'x'.repeat(SCRUB_MIN_LENGTH - 1);
  assert.is(new Scrubber([short, '']).text(`a ${short} b`), `a ${short} b`);
});

test('overlapping secrets become one marker, neighbours two', () => {
  const scrubber = new Scrubber(['abcdef-', '-ghijkl']);
  assert.is(scrubber.text('<abcdef-ghijkl>'), `<${REDACTED}>`);
  assert.is(scrubber.text('<abcdef--ghijkl>'), `<${REDACTED}${REDACTED}>`);
});

test('a secret inside a longer secret leaves nothing of either', () => {
  const scrubber = new Scrubber(['middle', 'the middle part']);
  assert.is(scrubber.text('see the middle part!'), `see ${REDACTED}!`);
  assert.is(scrubber.text('the middle of it'), `the ${REDACTED} of it`);
});

test('the start of a secret that does not continue is released', () => {
  const stream = new Scrubber(['token-123456']).stream();
  assert.is(stream.push('the token-'), 'the ');
  assert.is(stream.push('less way'), 'token-less way');
});

test('keys and values of JSON are scrubbed at every depth', () => {
  const scrubber = new Scrubber(['token-123456']);
  const value = { list: ['a', { 'token-123456': 'x token-123456 y' }], number: 1, none: null };
  assert.equal(scrubber.json(value), { list: ['a', { [REDACTED]: `x ${REDACTED} y` }], number: 1, none: null });
});

/** Few letters and short secrets make overlaps and false starts common. */
const letters = fc.constantFrom('a', 'b', 'c');
const secretText = fc.array(letters, { minLength: SCRUB_MIN_LENGTH, maxLength: 9 }).map((list) => list.join(''));
const someText = fc.array(letters, { maxLength: 120 }).map((list) => list.join(''));

/** Marks every covered character by brute force, then writes one marker per overlapping stretch. */
function expected(secrets: string[], text: string): string {
  const found = secrets.flatMap((secret) =>
    [...text].flatMap((_, at) => (text.startsWith(secret, at) ? [{ start: at, end: at + secret.length }] : [])),
  );
  found.sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const each of found) {
    const last = merged.at(-1);
    if (last && each.start < last.end) last.end = Math.max(last.end, each.end);
    else merged.push({ ...each });
  }
  let out = '';
  let at = 0;
  for (const { start, end } of merged) {
    out += text.slice(at, start) + REDACTED;
    at = end;
  }
  return out + text.slice(at);
}

test('however a text is split, exactly the covered characters are removed', () => {
  fc.assert(
    fc.property(
      fc.array(secretText, { minLength: 1, maxLength: 4 }),
      fc.array(fc.oneof(someText, fc.nat({ max: 3 })), { maxLength: 8 }),
      fc.array(fc.nat({ max: 200 }), { maxLength: 12 }),
      (secrets, parts, cuts) => {
        const text = parts.map((part) => (typeof part === 'string' ? part : (secrets[part] ?? ''))).join('');
        const borders = [...new Set(cuts.map((cut) => Math.min(cut, text.length)))].sort((a, b) => a - b);
        const stream = new Scrubber(secrets).stream();
        let out = '';
        let from = 0;
        for (const border of [...borders, text.length]) {
          out += stream.push(text.slice(from, border));
          from = border;
        }
        out += stream.end();
        // Only the plain forms: the alphabet has no character that an encoding would change.
        assert.is(out, expected(secrets, text));
      },
    ),
    { numRuns: 500 },
  );
});

test('what is held back never exceeds the longest form', () => {
  const secret = 'k'.repeat(40);
  const stream = new Scrubber([secret]).stream();
  let released = 0;
  for (let sent = 1; sent <= 39; sent++) {
    released += stream.push('k').length;
    assert.is(released, 0);
  }
  assert.is(stream.push('!'), `${'k'.repeat(39)}!`);
});
