/**
 * The contract of every secrets adapter, against the Vault server that we build, and against another
 * Vault or OpenBao when one is named: `GSV_TEST_VAULT_ADDR` and `GSV_TEST_VAULT_TOKEN` (a root token; the
 * KV v2 mount is `secret`, or what `GSV_TEST_VAULT_MOUNT` names; `GSV_TEST_VAULT_CA_FILE` for its authority).
 */
import { after } from 'node:test';
import { testVault } from '../../hack/vault/testing.ts';
import { vaultContract } from './vault.suite.ts';

const vault = await testVault();
vaultContract('Vault', { url: vault.url, token: vault.rootToken, mount: vault.mount });

const {
  GSV_TEST_VAULT_ADDR: url,
  GSV_TEST_VAULT_TOKEN: token,
  GSV_TEST_VAULT_MOUNT: mount = 'secret',
  GSV_TEST_VAULT_CA_FILE: caFile,
} = process.env;
if (url && token) vaultContract(`Vault at ${url}`, { url, token, mount, ...(caFile ? { caFile } : {}) });

after(() => vault.close());
