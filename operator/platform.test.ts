import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { loadSettings, SettingsError } from '../config/settings.ts';
import { PLATFORM_SETTINGS, platformOf } from './platform.ts';
import { renderProject } from './render/render.ts';

const folder = mkdtempSync(join(tmpdir(), 'gsv-platform-'));
after(() => rmSync(folder, { recursive: true }));

const ENV = {
  GSV_GIT_REMOTE: 'https://git.example.com/gsv.git',
  GSV_VAULT_ADDR: 'https://bao.example.com:8200',
  GSV_VAULT_MOUNT: 'kv/agents',
  GSV_VAULT_AUTH_MOUNT: 'kubernetes-eu',
  GSV_VAULT_AUDIENCE: 'bao',
  GSV_ARGOCD_NAMESPACE: 'gitops',
};

function platform(env: Record<string, string>) {
  return platformOf(loadSettings(PLATFORM_SETTINGS, ['gitRemote', 'vaultAddr'], env));
}

test('what the settings say of Vault stands in every SecretStore', () => {
  const file = join(folder, 'ca.pem');
  writeFileSync(file, 'PEM');
  const files = renderProject({
    organization: { metadata: { name: 'acme', uid: 'o-1' } },
    project: { metadata: { name: 'default', uid: 'p-1' }, spec: {} },
    projects: [],
    platform: platform({ ...ENV, GSV_VAULT_CA_FILE: file }),
  });
  const [, store = ''] = [...files].find(([path]) => path.endsWith('/secretstore.yaml')) ?? [];
  for (const line of [
    'server: "https://bao.example.com:8200"',
    'path: kv/agents',
    'caBundle: UEVN',
    'mountPath: kubernetes-eu',
    '- bao',
  ])
    assert.match(store, line);
  const namespace = /namespace: (gsv-w-\S+)/.exec(store)?.[1] ?? 'none';
  assert.match(store, `role: ${namespace}`);
});

const isSettingsError = (error: unknown): boolean => error instanceof SettingsError;

test('an authority that cannot be read is named at start', () => {
  assert.throws(() => platform({ ...ENV, GSV_VAULT_CA_FILE: join(folder, 'absent') }), isSettingsError);
});
