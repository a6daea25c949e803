import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { waitsForItsApiServer } from '../hack/testing/lonely-process.ts';
import { ensureBareRemote } from './git/remote.ts';

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

test('a store for artifacts that is not offered is refused in a sentence', () => {
  const { status, stderr } = start({ ...COMPLETE, GSV_ARTIFACTS_URL: 'ftp://x/y' });
  assert.is(status, 1);
  assert.match(stderr, 'ftp:// is not offered');
  assert.not.ok(stderr.includes('canary'));
});

test('with its API server away it lives, is not ready, says why, and stops when told', async () => {
  const remote = mkdtempSync(join(tmpdir(), 'gsv-operator-'));
  try {
    await ensureBareRemote(join(remote, 'delivery.git'));
    const env = { GSV_GIT_REMOTE: join(remote, 'delivery.git'), GSV_DELIVERY: 'local', GSV_DATA_DIR: remote };
    await waitsForItsApiServer(MAIN, { ...COMPLETE, ...env });
  } finally {
    rmSync(remote, { recursive: true, force: true });
  }
});
