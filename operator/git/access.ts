import { resolve } from 'node:path';
import { quoted } from './quoting.ts';

/** Files that open a remote. Git and ssh read them at each push, so a rotated one needs no restart. */
export interface GitAccess {
  /** In the format of `git credential-store`; for HTTP. */
  credentialsFile?: string | undefined;
  /** Private key without a passphrase; absent: the keys that ssh finds by itself. */
  sshKeyFile?: string | undefined;
  /** In the format of `known_hosts`; absent: the files that ssh reads by itself. */
  sshKnownHostsFile?: string | undefined;
}

/** Never asks, and notices within a minute that the other side is gone. */
const SSH = 'ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=3';

/** What the settings say. */
export function accessOf(settings: {
  gitCredentialsFile?: string | undefined;
  gitSshKeyFile?: string | undefined;
  gitSshKnownHostsFile?: string | undefined;
}): GitAccess {
  return {
    credentialsFile: settings.gitCredentialsFile,
    sshKeyFile: settings.gitSshKeyFile,
    sshKnownHostsFile: settings.gitSshKnownHostsFile,
  };
}

/**
 * Settings that let git read the file and nothing else. It is only ever asked, never told:
 * `credential-store` by itself deletes a password that the remote refused, so one bad minute of the remote
 * would lose it.
 */
export function credentialSettings({ credentialsFile }: GitAccess): (readonly [key: string, value: string])[] {
  const nobody = ['credential.helper', ''] as const;
  if (credentialsFile === undefined) return [nobody];
  const file = shellWord(resolve(credentialsFile));
  const helper = `!f() { test "$1" = get || exit 0; git credential-store --file=${file} get; }; f`;
  return [nobody, ['credential.helper', helper]];
}

/**
 * The command that git starts for an SSH remote. A host that is not known is refused, whatever the machine's
 * own settings say: whoever answers in its place would get the manifests of all tenants.
 */
export function sshCommand({ sshKeyFile, sshKnownHostsFile }: GitAccess): string {
  const options = ['StrictHostKeyChecking=yes'];
  if (sshKeyFile !== undefined) options.push('IdentitiesOnly=yes', `IdentityFile=${sshPath(sshKeyFile)}`);
  if (sshKnownHostsFile !== undefined)
    options.push(`UserKnownHostsFile=${sshPath(sshKnownHostsFile)}`, 'GlobalKnownHostsFile=/dev/null');
  return [SSH, ...options.map((option) => `-o ${shellWord(option)}`)].join(' ');
}

/** ssh replaces percent signs and splits at blanks. */
function sshPath(file: string): string {
  return quoted(resolve(file).replaceAll('%', '%%'));
}

/** Git hands both commands to a shell: single quotes keep a path one word. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
