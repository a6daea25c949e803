import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { manifestsOf } from '../../hack/testing/rendered.ts';
import { defaultPlatform, instanceOwns, renderInstance } from '../render/render.ts';
import { declaredObjects } from './commit.ts';

const place = {
  organization: { metadata: { name: 'acme', uid: 'org-uid' } },
  project: { metadata: { name: 'default', uid: 'project-uid' }, spec: {} },
  instance: { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'pro', config: {} } },
};

function rendered(): Map<string, string> {
  return renderInstance({
    ...place,
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
}

test('what the manifests of an Instance declare is read back from them', () => {
  const files = rendered();
  const objects = declaredObjects(files);
  assert.equal(
    objects.map(({ group, kind, name }) => `${group}/${kind}/${name}`),
    ['/ConfigMap/i-claims', 'external-secrets.io/ExternalSecret/i-claims', '/ServiceAccount/i-claims'],
  );
  assert.is(objects.find(({ kind }) => kind === 'ExternalSecret')?.annotations?.['force-sync'], 'token=3');
});

test('the folder of an earlier release leaves Git in the commit that brings the file, and in a removal', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const files = rendered();
  const owns = instanceOwns(place);
  const [file = '', stem = ''] = owns;
  const folder = new Map([...manifestsOf(files).values()].map((text, index) => [`${stem}/${index}.yaml`, text]));
  const before = { owns: [stem], files: folder, subject: 'as before', trailers: {} };
  await writer.commit(before);
  assert.equal(await remote.files(), [...folder.keys()]);
  const { commit } = await writer.commit({ owns, files, subject: 'Instance', trailers: {} });
  assert.equal(await remote.files(), [file]);
  assert.is(await remote.git('rev-list', '--count', `${commit}`), '2', 'one commit does both');
  await writer.remove({ owns, subject: 'removed', trailers: {} });
  await writer.commit(before);
  await writer.remove({ owns, subject: 'removed before its visit', trailers: {} });
  assert.equal(await remote.files(), []);
});
