import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { defaultPlatform, renderInstance } from '../render/render.ts';
import { declaredObjects } from './commit.ts';

test('what the manifests of an Instance declare is read back from them', () => {
  const files = renderInstance({
    organization: { metadata: { name: 'acme', uid: 'org-uid' } },
    project: { metadata: { name: 'default', uid: 'project-uid' }, spec: {} },
    instance: { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'pro', config: {} } },
    contract: {
      offering: 'claims-agent',
      version: '1.0.0',
      secrets: [{ name: 'token', source: 'Buyer' as const }],
      connectors: [],
      limits: { runSeconds: 120 },
      plans: [],
    },
    platform: defaultPlatform('https://git.example.com/r.git', 'main'),
    contractDigest: `sha256:${'0'.repeat(64)}`,
    secretVersions: [{ name: 'token', version: 3 }],
  });
  const objects = declaredObjects(files);
  assert.equal(
    objects.map(({ group, kind, name }) => `${group}/${kind}/${name}`),
    ['/ConfigMap/i-claims', 'external-secrets.io/ExternalSecret/i-claims', '/ServiceAccount/i-claims'],
  );
  assert.is(objects.find(({ kind }) => kind === 'ExternalSecret')?.annotations?.['force-sync'], 'token=3');
});
