/**
 * The contract of every secrets adapter, against the double always, and against a real Vault or OpenBao
 * when asked for: `GSV_TEST_VAULT_ADDR` and `GSV_TEST_VAULT_TOKEN` (a root token; the KV v2 mount is
 * `secret`, or what `GSV_TEST_VAULT_MOUNT` names; `GSV_TEST_VAULT_CA_FILE` for its authority). It sets up
 * the policies and the token role as an administrator would, mounts the Kubernetes method where it is missing
 * (its roles are written and listed, nobody logs in), then works with them alone.
 */
import { after } from 'node:test';
import { startVaultDouble } from '../../hack/vault/double.ts';
import { issueToken, mountKubernetes, prepareVault } from '../../hack/vault/prepare.ts';
import { Secret } from '../secret-setting.ts';
import { secretsContract } from '../secrets.suite.ts';
import { VaultSecrets } from './vault.ts';

const double = await startVaultDouble();
contract('Vault double', { url: double.url, token: double.rootToken, mount: 'secret' });

const {
  GSV_TEST_VAULT_ADDR: url,
  GSV_TEST_VAULT_TOKEN: token,
  GSV_TEST_VAULT_MOUNT: mount = 'secret',
  GSV_TEST_VAULT_CA_FILE: caFile,
} = process.env;
if (url && token) contract(`Vault at ${url}`, { url, token, mount, ...(caFile ? { caFile } : {}) });

// Hooks run in the order they are made: the stores are cleared first.
after(() => double.close());

function contract(name: string, server: { url: string; token: string; mount: string; caFile?: string }): void {
  let opened: Promise<VaultSecrets> | undefined;
  const open = async (): Promise<VaultSecrets> => {
    await prepareVault(server);
    await mountKubernetes(server);
    const ours = await issueToken(server, ['gsv-operator', 'gsv-runner'], '10m');
    return new VaultSecrets({ ...server, auth: { kind: 'token', token: Secret.of(ours) } });
  };
  secretsContract(name, () => {
    opened ??= open();
    return opened;
  });
  after(async () => {
    const store = await opened;
    await store?.destroyTree('t/gsv-w-acme-default-00000000');
    await store?.close();
  });
}
