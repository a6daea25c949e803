import { after } from 'node:test';
import { issueToken, mountKubernetes, prepareVault } from '../../hack/vault/prepare.ts';
import { Secret } from '../secret-setting.ts';
import { secretsContract } from '../secrets.suite.ts';
import { VaultSecrets } from './vault.ts';

/** A server of Vault's API with a root token; `mount` is its KV v2 mount. */
export interface VaultServer {
  url: string;
  token: string;
  mount: string;
  caFile?: string;
}

/**
 * The contract of every secrets adapter against one server. It sets up the policies and the token role
 * as an administrator would, mounts the Kubernetes method where it is missing (its roles are written and
 * listed, nobody logs in), then works with them alone.
 */
export function vaultContract(name: string, server: VaultServer): void {
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
