import { Secret } from '../secret-setting.ts';
import { type Settings, SettingsError } from '../settings.ts';
import { VaultSecrets } from './vault.ts';
import type { VaultAuth } from './vault-login.ts';

/** The settings that say where Vault is and how to log in. */
export type VaultSettings = Settings<
  | 'vaultAddr'
  | 'vaultAuth'
  | 'vaultToken'
  | 'vaultRole'
  | 'vaultAuthMount'
  | 'vaultJwtFile'
  | 'vaultCaFile'
  | 'vaultMount'
> &
  // The runner writes no roles.
  Partial<Settings<'vaultAudience'>>;

/**
 * Vault as the settings name it; nothing is asked of it yet.
 *
 * @param role of the `kubernetes` login where the settings name none
 * @throws SettingsError
 */
export function openVault(settings: VaultSettings, role: string): VaultSecrets {
  const { vaultAddr: url, vaultMount: mount, vaultCaFile: caFile, vaultAudience: audience } = settings;
  if (url === undefined) throw new SettingsError(['GSV_VAULT_ADDR is required: where Vault or OpenBao answers']);
  return new VaultSecrets({
    url,
    mount,
    auth: authOf(settings, role),
    ...(audience === undefined ? {} : { logins: { authMount: settings.vaultAuthMount, audience } }),
    ...(caFile === undefined ? {} : { caFile }),
  });
}

function authOf(settings: VaultSettings, role: string): VaultAuth {
  if (settings.vaultAuth === 'token') {
    if (settings.vaultToken === undefined)
      throw new SettingsError(['GSV_VAULT_TOKEN is required with GSV_VAULT_AUTH=token']);
    return { kind: 'token', token: settings.vaultToken };
  }
  return {
    kind: 'kubernetes',
    role: settings.vaultRole ?? role,
    mount: settings.vaultAuthMount,
    jwt: Secret.fromFile(settings.vaultJwtFile),
  };
}
