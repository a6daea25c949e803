import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { quote } from './words.ts';

const SAME: readonly { reason: string; one: string; two: string; quoted?: string }[] = [
  {
    reason: 'object ids',
    one: 'fatal: bad object 1f0ab9c7d2e34f5566778899aabbccddeeff0011',
    two: 'fatal: bad object 2f0ab9c7d2e34f5566778899aabbccddeeff0022',
    quoted: 'bad object …',
  },
  {
    reason: 'temporary folders',
    one: 'error: unable to create ./objects/tmp_objdir-incoming-Ab3dEf/pack',
    two: 'error: unable to create ./objects/tmp_objdir-incoming-Xy9zQw/pack',
  },
  {
    reason: 'how long it took',
    one: 'fatal: Failed to connect to git.example port 8443 after 12 ms: Couldn’t connect to server',
    two: 'fatal: Failed to connect to git.example port 8443 after 3001 ms: Couldn’t connect to server',
    quoted: 'Failed to connect to git.example port 8443 after … ms: Couldn’t connect to server',
  },
  {
    reason: 'addresses of a name with several',
    one: 'connect to host git.example (192.0.2.7) port 22: Connection refused',
    two: 'connect to host git.example (192.0.2.19) port 22: Connection refused',
  },
  {
    reason: 'times',
    one: 'remote: down since 2026-03-01T12:00:00Z (12:00:01)',
    two: 'remote: down since 2026-03-02T13:30:00Z (13:30:59)',
  },
  {
    reason: 'request ids',
    one: 'remote: Correlation 0b8f6c1e-1111-2222-3333-444455556666',
    two: 'remote: Correlation 0b8f6c1e-9999-2222-3333-444455556666',
  },
  {
    reason: 'progress and counts',
    one: 'remote: 53% (17/32), 1234567 left, 12.5 MiB',
    two: 'remote: 99% (31/32), 7654321 left, 9 MiB',
  },
  {
    reason: 'the order is kept and repetitions go',
    one: 'fatal: a\nfatal: a\nb',
    two: 'a\r\nremote: b\n\n',
    quoted: 'a; b',
  },
];

for (const { reason, one, two, quoted } of SAME) {
  test(`the words of a remote are the same at every retry: ${reason}`, () => {
    assert.is(quote(one), quote(two));
    if (quoted !== undefined) assert.is(quote(one), quoted);
  });
}

test('of the alarm of ssh about another host key the sentence stays that says so', () => {
  const alarm = `@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:l4ZbVsM0bU0m3w4Wv7gqyT2m3.
Please contact your system administrator.
Add correct host key in /var/run/gsv/known_hosts to get rid of this message.
Offending ED25519 key in /var/run/gsv/known_hosts:1
Host key for git.example has changed and you have requested strict checking.
Host key verification failed.
fatal: Could not read from remote repository.`;
  assert.is(
    quote(alarm),
    'Host key for git.example has changed and you have requested strict checking.; Host key verification failed.; Could not read from remote repository.',
  );
});

test('what names the cause stays', () => {
  const words = 'The requested URL returned error: 503; see https://wiki.example/freeze, branch release/2.1';
  assert.is(quote(`fatal: ${words}`), words);
});

test('words are bounded and carry no control characters, colours, direction marks or credentials', () => {
  const long = quote(Array.from({ length: 40 }, (_, line) => `line ${'x'.repeat(line + 20)}`).join('\n'));
  assert.ok(long.length <= 300, `${long.length} characters`);
  assert.is(quote('remote: \u001b[31mred\u001b[0m \u202eabc\u0007'), 'red abc');
  assert.not.match(quote('fatal: https://tok3n@git.example/ and https://bot:hunter2@git.example/'), /tok3n|hunter2/);
});
