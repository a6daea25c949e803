import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { waitsForItsApiServer } from '../../hack/testing/lonely-process.ts';

const SETTINGS = {
  GSV_LEDGER_URL: 'http://127.0.0.1:7101',
  GSV_LEDGER_TOKEN: 'ledger-token-canary',
  GSV_TICKET_KEY: 'ticket-key-canary'.repeat(2),
  GSV_RUNNER_PROBE_KEY: 'probe-key-canary',
  GSV_RUNTIME_URL: 'http://127.0.0.1:7860',
  GSV_RUNTIME_KEY: 'runtime-key-canary',
  GSV_VAULT_ADDR: 'http://127.0.0.1:8200',
  GSV_ARTIFACTS_URL: 'file:///artifacts',
};

function start(env: Record<string, string>): Promise<{ code: number; stderr: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; stderr: string }>();
  execFile(process.execPath, [join(import.meta.dirname, 'main.ts')], { env }, (error, _stdout, stderr) =>
    resolve({ code: Number(error?.code ?? 0), stderr }),
  );
  return promise;
}

const REFUSALS: { reason: string; env: Record<string, string>; says: RegExp }[] = [
  { reason: 'missing settings, all at once', env: {}, says: /GSV_LEDGER_URL.*GSV_TICKET_KEY.*GSV_ARTIFACTS_URL/ },
  {
    reason: 'bad settings, all at once',
    env: { ...SETTINGS, GSV_LOG_LEVEL: 'loud', GSV_RUNNER_PORT: '-1', GSV_VAULT_AUTH: 'fax' },
    says: /GSV_LOG_LEVEL must.*GSV_RUNNER_PORT must.*GSV_VAULT_AUTH must/,
  },
  {
    reason: 'the embedded store, which is the quickstart’s own',
    env: { ...SETTINGS, GSV_RESOURCES: 'embedded' },
    says: /GSV_RESOURCES=embedded .*quickstart/,
  },
  {
    reason: 'a kubeconfig that is not there',
    env: { ...SETTINGS, KUBECONFIG: '/does/not/exist' },
    says: /No Kubernetes/,
  },
  {
    reason: 'a store for artifacts that is not offered',
    env: { ...SETTINGS, GSV_ARTIFACTS_URL: 'ftp://x/y' },
    says: /ftp:\/\/ is not offered/,
  },
];

for (const { reason, env, says } of REFUSALS) {
  test(`as its own process the runner refuses ${reason}`, async () => {
    const { code, stderr } = await start(env);
    assert.is(code, 1);
    assert.match(stderr, says);
    assert.not.match(stderr, /canary/);
  });
}

test('with its API server away it lives, is not ready, says why, and stops when told', () =>
  waitsForItsApiServer(join(import.meta.dirname, 'main.ts'), { ...SETTINGS, GSV_RUNNER_PORT: '0' }));
