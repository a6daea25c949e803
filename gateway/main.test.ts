import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { waitsForItsApiServer } from '../hack/testing/lonely-process.ts';

const SETTINGS = {
  GSV_LEDGER_URL: 'http://127.0.0.1:9',
  GSV_LEDGER_TOKEN: 'canary-token',
  GSV_RUNNER_URL: 'http://127.0.0.1:9',
  GSV_TICKET_KEY: 'k'.repeat(32),
  GSV_OIDC_ISSUER: 'http://127.0.0.1:9',
};

function start(env: Record<string, string>): Promise<{ code: number; stderr: string }> {
  const main = join(import.meta.dirname, 'main.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [main], { env }, (error, _stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stderr });
    });
  });
}

for (const [reason, env, says] of [
  ['missing settings, all at once', {}, /GSV_LEDGER_URL.*GSV_RUNNER_URL.*GSV_OIDC_ISSUER/s],
  [
    'bad settings, all at once',
    { ...SETTINGS, GSV_GATEWAY_PORT: 'abc', GSV_GATEWAY_ROLE: 'boss', GSV_LOG_LEVEL: 'loud', GSV_SALEOR_SHOPS: 'x' },
    /GSV_LOG_LEVEL must.*GSV_GATEWAY_PORT must.*GSV_GATEWAY_ROLE must.*GSV_SALEOR_SHOPS must/s,
  ],
  ['embedded resources', { ...SETTINGS, GSV_RESOURCES: 'embedded' }, /npm run quickstart/],
  ['a kubeconfig that is not there', { ...SETTINGS, KUBECONFIG: '/does/not/exist' }, /No Kubernetes/],
] as const)
  test(`the process refuses ${reason} with a sentence`, async () => {
    const { code, stderr } = await start(env);
    assert.is(code, 1);
    assert.match(stderr, says);
    assert.not.match(stderr, /canary/);
  });

test('with its API server away it lives, is not ready, says why, and stops when told', () =>
  waitsForItsApiServer(join(import.meta.dirname, 'main.ts'), SETTINGS));
