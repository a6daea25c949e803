/**
 * `npm run vault:prepare`: prints what an administrator runs once on a Vault or OpenBao. It prints and does not
 * do: no process of ours ever needs a token that may write policies of its own choice.
 */
import { parseArgs } from 'node:util';
import { preparationScript } from '../../config/secrets/vault-prepare.ts';
import { SecretsError } from '../../config/secrets.ts';
import { loadSettings, SettingsError } from '../../config/settings.ts';

const USAGE = `usage: npm run --silent vault:prepare -- [--program vault|bao] [--namespace gsv-system] > prepare.sh

  --program    the command line client to write for (vault)
  --namespace  where operator and runner run (gsv-system)

Mounts and audience come from GSV_VAULT_MOUNT, GSV_VAULT_AUTH_MOUNT and GSV_VAULT_AUDIENCE.
`;

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

function script(): string {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { program: text, namespace: text } });
  const { program = 'vault', namespace = 'gsv-system' } = values;
  if (program !== 'vault' && program !== 'bao') throw new TypeError('--program is vault or bao');
  if (!LABEL.test(namespace)) throw new TypeError('--namespace is the name of a namespace');
  const settings = loadSettings(['vaultMount', 'vaultAuthMount', 'vaultAudience']);
  return preparationScript(
    {
      mount: settings.vaultMount,
      authMount: settings.vaultAuthMount,
      audience: settings.vaultAudience,
      systemNamespace: namespace,
    },
    program,
  );
}

try {
  process.stdout.write(script());
} catch (error) {
  const known = error instanceof SettingsError || error instanceof SecretsError;
  process.stderr.write(known ? `${error.message}\n` : `${(error as Error).message}\n${USAGE}`);
  process.exitCode = known ? 1 : 2;
}
