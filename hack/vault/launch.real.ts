import { existsSync } from 'node:fs';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { asAdministrator } from './prepare.ts';
import { testVault } from './testing.ts';

const PATH = 'secret/data/t/ns/uid/a';

test('what a folder holds outlives a restart; it is sealed then, and nothing remains after the end', async () => {
  const vault = await testVault({ storage: 'file' });
  const root = { url: vault.url, token: vault.rootToken };
  try {
    await asAdministrator(root, 'POST', PATH, { data: { value: 'kept' } });
    await vault.restart();
    assert.match(String(await asAdministrator(root, 'GET', PATH).catch(String)), '503', 'sealed');
    await vault.unseal();
    const { data } = await asAdministrator(root, 'GET', PATH);
    assert.equal((data as { data: unknown }).data, { value: 'kept' });
    assert.ok(vault.memory() > 0);
    assert.not.match(vault.logTail(), 'kept');
  } finally {
    await vault.close();
  }
  assert.not.ok(existsSync(vault.folder));
  assert.match(String(await asAdministrator(root, 'GET', 'sys/health').catch(String)), 'ECONNREFUSED');
});

test('what is in memory does not outlive a restart, so there is none', async () => {
  const vault = await testVault();
  try {
    assert.match(String(await vault.restart().catch(String)), 'does not outlive');
    assert.match(vault.accessor, /^auth_kubernetes_/);
    const { data } = await asAdministrator({ url: vault.url, token: vault.rootToken }, 'GET', 'secret/config');
    assert.is((data as { cas_required: boolean }).cas_required, false);
  } finally {
    await vault.close();
  }
});
