/** The contract of every secrets adapter, against the double of Vault's API. */
import { after } from 'node:test';
import { startVaultDouble } from '../../hack/vault/double.ts';
import { vaultContract } from './vault.suite.ts';

const double = await startVaultDouble();
vaultContract('Vault double', { url: double.url, token: double.rootToken, mount: 'secret' });
// Hooks run in the order they are made: the store is cleared first.
after(() => double.close());
