import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import * as assert from 'uvu/assert';
import { loadSettings, Secret, SettingsError } from './settings.ts';

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}

test('defaults stand where nothing is set', () => {
  const settings = loadSettings(['ledgerPort', 'ledgerHost', 'opsPort', 'resources'], [], {});
  assert.equal(settings, { ledgerPort: 7101, ledgerHost: '127.0.0.1', opsPort: 0, resources: 'kubernetes' });
});

test('all problems are listed at once, each with the name of its variable', () => {
  const problems = problemsOf(() =>
    loadSettings(['ledgerPort', 'ledgerUrl', 'gatewayRole', 'oidcIssuer'], ['oidcIssuer'], {
      GSV_LEDGER_PORT: '70000',
      GSV_LEDGER_URL: 'not a url',
      GSV_GATEWAY_ROLE: 'both',
    }),
  );
  assert.equal(
    problems.map((problem) => problem.split(' ')[0]),
    ['GSV_LEDGER_PORT', 'GSV_LEDGER_URL', 'GSV_GATEWAY_ROLE', 'GSV_OIDC_ISSUER'],
  );
});

for (const value of ['-1', '65536', '7101x', ' 7101', '1e3', '']) {
  test(`the port ${JSON.stringify(value)} is ${value === '' ? 'the default' : 'refused'}`, () => {
    const problems = problemsOf(() => loadSettings(['ledgerPort'], [], { GSV_LEDGER_PORT: value }));
    assert.is(problems.length, value === '' ? 0 : 1);
  });
}

test('a list of shops is split and trimmed', () => {
  const { saleorShops } = loadSettings(['saleorShops'], [], {
    GSV_SALEOR_SHOPS: 'https://a.example/graphql/, https://b.example/graphql/',
  });
  assert.equal(saleorShops, ['https://a.example/graphql/', 'https://b.example/graphql/']);
});

test('a secret from a file follows the file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gsv-settings-'));
  try {
    const path = join(folder, 'token');
    writeFileSync(path, 'first\n');
    const { ledgerToken } = loadSettings(['ledgerToken'], ['ledgerToken'], { GSV_LEDGER_TOKEN_FILE: path });
    assert.is(ledgerToken.reveal(), 'first');
    writeFileSync(path, 'second\n');
    utimesSync(path, new Date(), new Date(Date.now() + 5_000));
    assert.is(ledgerToken.reveal(), 'second');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a secret file that cannot be read is a problem that names the variable', () => {
  const problems = problemsOf(() => loadSettings(['ledgerToken'], [], { GSV_LEDGER_TOKEN_FILE: '/nonexistent/token' }));
  assert.is(problems.length, 1);
  assert.match(problems[0] ?? '', 'GSV_LEDGER_TOKEN');
});

test('a signing key that is too short is refused, from the variable and from the file, without its value', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gsv-settings-'));
  try {
    const path = join(folder, 'key');
    writeFileSync(path, 'hunter2');
    for (const env of [{ GSV_TICKET_KEY: 'hunter2' }, { GSV_TICKET_KEY_FILE: path }]) {
      const problems = problemsOf(() => loadSettings(['ticketKey'], [], env));
      assert.equal(problems, ['GSV_TICKET_KEY must have at least 32 characters']);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('printing a secret never shows it', () => {
  const secret = Secret.of('hunter2');
  for (const text of [String(secret), JSON.stringify({ secret }), inspect(secret), inspect({ secret }, { depth: 9 })]) {
    assert.not.match(text, 'hunter2');
  }
});
