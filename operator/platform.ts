import { readFileSync } from 'node:fs';
import { type Settings, SettingsError, type WithRequired } from '../config/settings.ts';
import { defaultPlatform, type Platform } from './render/platform.ts';

/** The settings that manifests depend on. */
export const PLATFORM_SETTINGS = [
  'gitRemote',
  'gitBranch',
  'argocdNamespace',
  'vaultAddr',
  'vaultMount',
  'vaultAuthMount',
  'vaultAudience',
  'vaultCaFile',
  'runtimeImage',
  'kubernetesUsers',
  'kubernetesGroups',
  'oidcIssuer',
] as const;

type PlatformSettings = WithRequired<Settings<(typeof PLATFORM_SETTINGS)[number]>, 'gitRemote' | 'vaultAddr'>;

/**
 * Facts of this installation for the renderer, from the process's settings. The authorities of Vault become
 * part of each SecretStore, because External Secrets does not see our file.
 *
 * @throws SettingsError when the file of the authorities cannot be read
 */
export function platformOf(settings: PlatformSettings): Platform {
  const platform = defaultPlatform(settings.gitRemote, settings.gitBranch);
  const { vaultCaFile, runtimeImage, kubernetesUsers: users, kubernetesGroups: groups, oidcIssuer: issuer } = settings;
  return {
    ...platform,
    argocdNamespace: settings.argocdNamespace,
    vault: {
      server: settings.vaultAddr,
      mount: settings.vaultMount,
      authMount: settings.vaultAuthMount,
      audience: settings.vaultAudience,
      ...(vaultCaFile === undefined ? {} : { caBundle: authorities(vaultCaFile) }),
    },
    access: { users, groups, ...(issuer === undefined ? {} : { issuer }) },
    ...(runtimeImage === undefined ? {} : { runtime: { image: runtimeImage } }),
  };
}

function authorities(file: string): string {
  try {
    return readFileSync(file).toString('base64');
  } catch (cause) {
    throw new SettingsError([`GSV_VAULT_CA_FILE cannot be read: ${(cause as NodeJS.ErrnoException).code}`]);
  }
}
