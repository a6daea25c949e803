import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { manifestsOf } from '../../hack/testing/rendered.ts';
import { defaultPlatform } from '../render/render.ts';
import type { Accepted, InstanceVisit } from './accept.ts';
import { type Rendered, render } from './commit.ts';

const place = {
  organization: { metadata: { name: 'acme', uid: 'org-uid' } },
  project: { metadata: { name: 'default', uid: 'project-uid' }, spec: {} },
  instance: { metadata: { name: 'claims', uid: 'instance-uid', generation: 1 }, spec: { plan: 'pro', config: {} } },
};
const contract = {
  offering: 'claims-agent',
  version: '1.0.0',
  secrets: [{ name: 'token', source: 'Buyer' }],
  connectors: [],
  limits: { runSeconds: 120 },
  plans: [],
};
const accepted = { ...place, contract, contractDigest: `sha256:${'0'.repeat(64)}` } as unknown as Accepted;
const visit = { object: place.instance } as unknown as InstanceVisit;
const rendered = (): Rendered =>
  render(visit, accepted, [{ name: 'token', version: 3 }], 'Running', {
    platform: defaultPlatform('https://git.example.com/r.git', 'main'),
  });

const essence = ({ kind, name, annotations }: { kind: string; name?: unknown; annotations?: unknown }) => [
  kind,
  name,
  annotations,
];

test('what the delivery looks for is what the file declares', () => {
  const change = rendered();
  assert.equal(
    change.objects.map(({ group, kind, name }) => `${group}/${kind}/${name}`),
    ['/ConfigMap/i-claims', 'external-secrets.io/ExternalSecret/i-claims', '/ServiceAccount/i-claims'],
  );
  assert.is(change.objects.find(({ kind }) => kind === 'ExternalSecret')?.annotations?.['force-sync'], 'token=3');
  const read = [...manifestsOf(change.files).values()].map((text) => parse(text) as { kind: string; metadata: object });
  assert.equal(
    read.map(({ kind, metadata }) => ({ kind, name: undefined, annotations: undefined, ...metadata })).map(essence),
    change.objects.map(essence),
  );
});

test('the folder of an earlier release leaves Git in the commit that brings the file, and in a removal', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const { files, owns } = rendered();
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
