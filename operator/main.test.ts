import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

const COMPLETE = {
  GSV_LEDGER_URL: 'http://127.0.0.1:7101',
  GSV_LEDGER_TOKEN: 'canary-token',
  GSV_PUBLIC_URL: 'https://store.example.com',
  GSV_RUNNER_URL: 'http://127.0.0.1:7102',
  GSV_RUNNER_PROBE_KEY: 'canary-key',
  GSV_GIT_REMOTE: 'https://git.example.com/gsv.git',
  GSV_VAULT_ADDR: 'https://vault.example.com',
  GSV_ARTIFACTS_URL: 'file:///srv/artifacts',
};

function start(env: Record<string, string>) {
  const { status, stderr } = spawnSync(process.execPath, [MAIN], { env, encoding: 'utf8' });
  return { status, stderr };
}

test('all problems of the settings are told at once', () => {
  const { status, stderr } = start({ GSV_OPS_PORT: '99999', GSV_RESOURCES: 'etcd' });
  assert.is(status, 1);
  for (const name of ['GSV_OPS_PORT', 'GSV_RESOURCES', ...Object.keys(COMPLETE)])
    assert.ok(stderr.includes(name), name);
});

test('the embedded store is refused: it belongs to the quickstart', () => {
  const { status, stderr } = start({ ...COMPLETE, GSV_RESOURCES: 'embedded' });
  assert.is(status, 1);
  assert.match(stderr, 'npm run quickstart');
});

test('not wired to the Kubernetes adapter yet, it says so and does not pretend to run', () => {
  const { status, stderr } = start(COMPLETE);
  assert.is(status, 1);
  assert.match(stderr, 'not wired to the Kubernetes adapter');
  assert.not.ok(stderr.includes('canary'));
});
