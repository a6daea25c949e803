import { test } from 'node:test';
import { loadAll } from 'js-yaml';
import * as assert from 'uvu/assert';
import { parseAllDocuments } from 'yaml';
import { HOSTILE } from '../../hack/testing/hostile.ts';
import { manifestsOf, PLATFORM, type RandomTree, renderTree } from '../../hack/testing/rendered.ts';
import { RenderError, renderOrganization } from './render.ts';

/** A value that every field accepts and that stands nowhere else. */
const MARKER = 'zz-marker';

interface Case {
  field: string;
  /** A whole Project with one Instance, the text in one of its fields. */
  put: (text: string) => RandomTree;
  /**
   * What becomes of the text. `verbatim`: it stands where the marker stood, and nothing else differs. `name`: it is a
   * DNS label or refused. `network`: it opens an address or a host, or nothing. `nowhere`: it is not rendered at all.
   */
  fate: 'verbatim' | 'name' | 'network' | 'nowhere';
}

function tree(edit: (tree: Draft) => void): RandomTree {
  const draft: Draft = {
    organization: { metadata: { name: 'acme', uid: 'org-uid' } },
    project: { metadata: { name: 'default', uid: 'project-uid' }, spec: { runtimeProfile: 'Namespace' } },
    instance: { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'pro', config: { tone: 'calm' } } },
    contract: {
      offering: 'claims-agent',
      version: '1.0.0',
      secrets: [{ name: 'token', source: 'Buyer' }],
      connectors: [],
      limits: { runSeconds: 120 },
      plans: [],
    },
    contractDigest: `sha256:${'0'.repeat(64)}`,
    secretVersions: [{ name: 'token', version: 1 }],
  };
  edit(draft);
  const { organization, project, ...instance } = draft;
  return { organization, project, instances: [instance] } as unknown as RandomTree;
}

/** Looser than the renderer's input: what a tenant sends is not what a type says. */
interface Draft {
  organization: { metadata: Loose; spec?: Loose };
  project: { metadata: Loose; spec: Loose };
  instance: { metadata: Loose; spec: Loose };
  contract: Loose;
  contractDigest: string;
  secretVersions: { name: string; version: number }[];
}
type Loose = Record<string, unknown>;

const connector = (more: Loose): Loose[] => [{ name: 'crm', url: 'https://crm.example/mcp', ...more }];

const CASES: Case[] = [
  {
    field: 'Organization name',
    fate: 'name',
    put: (text) => tree((t) => Object.assign(t.organization.metadata, { name: text })),
  },
  {
    field: 'Organization uid',
    fate: 'name',
    put: (text) => tree((t) => Object.assign(t.organization.metadata, { uid: text })),
  },
  {
    field: 'Organization title',
    fate: 'nowhere',
    put: (text) =>
      tree((t) => Object.assign(t.organization, { spec: { display: { title: text }, identityProviderId: text } })),
  },
  {
    field: 'Project name',
    fate: 'name',
    put: (text) => tree((t) => Object.assign(t.project.metadata, { name: text })),
  },
  { field: 'Project uid', fate: 'name', put: (text) => tree((t) => Object.assign(t.project.metadata, { uid: text })) },
  {
    field: 'Project title',
    fate: 'nowhere',
    put: (text) => tree((t) => Object.assign(t.project.spec, { display: { title: text } })),
  },
  {
    field: 'Project annotations and labels',
    fate: 'nowhere',
    put: (text) =>
      tree((t) => Object.assign(t.project.metadata, { annotations: { [text]: text }, labels: { [text]: text } })),
  },
  {
    field: 'Project egress allow-list',
    fate: 'network',
    put: (text) => tree((t) => Object.assign(t.project.spec, { egressAllowList: [text] })),
  },
  {
    field: 'Instance name',
    fate: 'name',
    put: (text) => tree((t) => Object.assign(t.instance.metadata, { name: text })),
  },
  {
    field: 'Instance uid',
    fate: 'name',
    put: (text) => tree((t) => Object.assign(t.instance.metadata, { uid: text })),
  },
  {
    field: 'Instance annotations and labels',
    fate: 'nowhere',
    put: (text) =>
      tree((t) => Object.assign(t.instance.metadata, { annotations: { [text]: text }, labels: { [text]: text } })),
  },
  { field: 'plan', fate: 'verbatim', put: (text) => tree((t) => Object.assign(t.instance.spec, { plan: text })) },
  {
    field: 'order claim',
    fate: 'nowhere',
    put: (text) => tree((t) => Object.assign(t.instance.spec, { fulfilment: { shop: text, order: text, line: text } })),
  },
  {
    field: 'config value',
    fate: 'verbatim',
    put: (text) => tree((t) => Object.assign(t.instance.spec, { config: { tone: text } })),
  },
  {
    field: 'config key',
    fate: 'verbatim',
    put: (text) => tree((t) => Object.assign(t.instance.spec, { config: { [text]: 'calm' } })),
  },
  {
    field: 'config value, deep',
    fate: 'verbatim',
    put: (text) => tree((t) => Object.assign(t.instance.spec, { config: { a: [{ b: [text] }] } })),
  },
  { field: 'offering', fate: 'verbatim', put: (text) => tree((t) => Object.assign(t.contract, { offering: text })) },
  { field: 'version', fate: 'verbatim', put: (text) => tree((t) => Object.assign(t.contract, { version: text })) },
  {
    field: 'contract digest',
    fate: 'verbatim',
    put: (text) => tree((t) => Object.assign(t, { contractDigest: text })),
  },
  {
    field: 'secret name',
    fate: 'name',
    put: (text) => tree((t) => Object.assign(t.contract, { secrets: [{ name: text, source: 'Buyer' }] })),
  },
  {
    field: 'secret version’s name',
    fate: 'nowhere',
    put: (text) =>
      tree((t) => {
        // Under profile Namespace it goes into the hash on the pod.
        t.project.spec = {};
        t.secretVersions.splice(0, 1, { name: `x${text}`, version: 1 });
      }),
  },
  {
    field: 'connector name',
    fate: 'nowhere',
    put: (text) => tree((t) => Object.assign(t.contract, { connectors: connector({ name: text }) })),
  },
  {
    field: 'connector URL',
    fate: 'network',
    put: (text) => tree((t) => Object.assign(t.contract, { connectors: connector({ url: text }) })),
  },
  {
    field: 'connector URL, path',
    fate: 'network',
    put: (text) =>
      tree((t) => Object.assign(t.contract, { connectors: connector({ url: `https://crm.example/${text}` }) })),
  },
  {
    field: 'connector URL, host',
    fate: 'network',
    put: (text) => tree((t) => Object.assign(t.contract, { connectors: connector({ url: `https://${text}` }) })),
  },
  {
    field: 'connector egress host',
    fate: 'network',
    put: (text) => tree((t) => Object.assign(t.contract, { connectors: connector({ egressHosts: [text] }) })),
  },
];

type Read = (text: string) => unknown[];
/** Two programs, three dialects. */
const READERS: [string, Read][] = [
  ['js-yaml', (text) => loadAll(text)],
  ['yaml 1.1', (text) => inDialect(text, '1.1')],
  ['yaml 1.2', (text) => inDialect(text, '1.2')],
];

function inDialect(text: string, version: '1.1' | '1.2'): unknown[] {
  const documents = parseAllDocuments(text, { version, merge: version === '1.1', uniqueKeys: true, strict: true });
  return [...documents].map((document) => {
    const [error] = document.errors;
    if (error) throw error;
    return document.toJS();
  });
}

/** What was read, by text: most files are the same whatever stands in one field. */
const known = new Map<string, string>();

/** The one object of a file as JSON text, after every reader has found the same. */
function theOneObject(path: string, text: string): string {
  const before = known.get(text);
  if (before !== undefined) return before;
  const [first = '', ...others] = READERS.map(([reader, read]) => {
    const documents = read(text);
    assert.is(documents.length, 1, `${path}: one document for ${reader}`);
    return plain(documents[0]);
  });
  for (const other of others) assert.is(other, first, `${path}: readers agree`);
  known.set(text, first);
  return first;
}

const counts = new Map<string, number>();

/** Documents in all files, on which the readers agree. */
function countOf(files: ReadonlyMap<string, string>): number {
  let count = 0;
  for (const [path, text] of files) {
    const [first = 0, ...others] = counts.has(text) ? [counts.get(text)] : READERS.map(([, read]) => read(text).length);
    for (const other of others) assert.is(other, first, `${path}: readers agree`);
    counts.set(text, first);
    count += first;
  }
  return count;
}

/** As JSON text: prototypes, symbols and getters do not survive it, and neither does a Date or a Buffer. */
const plain = (value: unknown): string => JSON.stringify(value);

type Objects = Map<string, unknown>;

/** Checked files by path. @throws RenderError when the renderer refuses */
function render(input: RandomTree): Objects {
  const files = renderTree(input);
  for (const path of files.keys())
    assert.match(path, /^(platform|tenants)\/[0-9a-f]{2}(\/[a-z0-9]([-a-z0-9]*[a-z0-9])?)+\.yaml$/);
  const manifests = manifestsOf(files);
  assert.is(countOf(files), manifests.size, 'every reader cuts the files where Argo CD does');
  const objects: Objects = new Map();
  for (const [path, text] of manifests) objects.set(path, withConfig(JSON.parse(theOneObject(path, text))));
  return objects;
}

/** Config travels as JSON inside a ConfigMap: opened, so that it is compared as well. */
function withConfig(object: unknown): unknown {
  const { data } = object as { data?: Record<string, string> };
  if (data?.['config.json'] === undefined) return object;
  return { ...(object as object), data: { ...data, 'config.json': JSON.parse(data['config.json']) } };
}

/** Whether `value` is what `marked` is, with the text where the marker stands; in keys and in values. */
function isMarkedBy(text: string, marked: unknown, value: unknown): boolean {
  if (typeof marked === 'string') {
    // Lone surrogates are no UTF-8: they become U+FFFD on their way, as anywhere; inside JSON text they are escaped.
    const own = marked.replaceAll(MARKER, () => text);
    return value === own || value === own.toWellFormed();
  }
  if (marked === null || typeof marked !== 'object') return value === marked;
  if (value === null || typeof value !== 'object' || Array.isArray(value) !== Array.isArray(marked)) return false;
  const wanted = Object.entries(marked).map(([key, member]) => [key.replaceAll(MARKER, () => text), member] as const);
  const present = new Map(Object.entries(value));
  const under = (key: string): unknown => (present.has(key) ? present.get(key) : present.get(key.toWellFormed()));
  return wanted.length === present.size && wanted.every(([key, member]) => isMarkedBy(text, member, under(key)));
}

const KIND = (object: unknown): string => (object as { kind: string }).kind;

function check({ field, put, fate }: Case, text: string, marked: Objects): 'rendered' | 'refused' {
  let objects: Objects;
  try {
    objects = render(put(text));
  } catch (error) {
    if (!(error instanceof RenderError)) throw error;
    assert.ok(text.length < 4 || !error.message.includes(text), 'a refusal does not repeat the text');
    return 'refused';
  }
  const where = `${field} = ${JSON.stringify(text).slice(0, 60)}`;
  if (fate === 'verbatim') {
    assert.equal([...objects.keys()], [...marked.keys()], where);
    for (const [path, object] of objects) assert.ok(isMarkedBy(text, marked.get(path), object), `${where} in ${path}`);
  } else if (fate === 'name') {
    assert.match(text, /^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$/, where);
    assert.equal([...objects.values()].map(KIND), [...marked.values()].map(KIND), where);
  } else if (fate === 'nowhere') {
    assert.equal([...objects], [...marked], where);
  } else onlyNetworks(objects, where);
  return 'rendered';
}

/** Whatever it was: hosts are hosts, addresses are addresses, and everything else is as without it. */
function onlyNetworks(objects: Objects, where: string): void {
  for (const [path, object] of objects) {
    if (!path.includes('#NetworkPolicy-')) continue;
    const { metadata, spec } = object as {
      metadata: { annotations: Record<string, string> };
      spec: { egress?: unknown };
    };
    const hosts = metadata.annotations['store.gsv.dev/egress-hosts'] ?? 'x.example';
    assert.match(hosts, /^[-a-z0-9.*:,]+$/, `${where} in ${path}`);
    for (const [, cidr = ''] of JSON.stringify(spec.egress ?? []).matchAll(/"cidr":"([^"]*)"/g))
      assert.match(cidr, /^[0-9a-f.:]+\/\d+$/, `${where} in ${path}`);
  }
}

for (const each of CASES) {
  test(`${each.field}: one document, one path, the intended object (${each.fate})`, (t) => {
    const marked = each.fate === 'network' ? new Map() : render(each.put(MARKER));
    if (each.fate === 'verbatim') assert.ok(plain([...marked]).includes(MARKER), 'the field is rendered at all');
    const count = { rendered: 0, refused: 0 };
    for (const text of HOSTILE) count[check(each, text, marked)] += 1;
    if (each.fate !== 'name') assert.ok(count.rendered > 0);
    t.diagnostic(`${HOSTILE.length} strings: ${count.rendered} rendered, ${count.refused} refused`);
  });
}

test('the whole corpus', (t) => {
  assert.is(new Set(HOSTILE).size, HOSTILE.length, 'no string twice');
  t.diagnostic(`${HOSTILE.length} strings x ${CASES.length} fields = ${HOSTILE.length * CASES.length} renderings`);
  assert.ok(HOSTILE.length >= 120 && CASES.length >= 25);
});

test('the names of an Organization’s other Projects are checked as well', () => {
  const organization = { metadata: { name: 'acme', uid: 'org-uid' } };
  for (const text of HOSTILE.filter((each) => !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(each))) {
    const projects = [{ metadata: { name: text, uid: 'uid' } }];
    assert.throws(
      () => renderOrganization({ organization, projects, platform: PLATFORM }),
      (error: unknown) => error instanceof RenderError,
    );
  }
});

/** What somebody writes who has not read the specification. */
function naive(value: unknown, pad = ''): string {
  if (value === null || typeof value !== 'object') return ` ${String(value)}\n`;
  const entries = Object.entries(value);
  if (entries.length === 0) return Array.isArray(value) ? ' []\n' : ' {}\n';
  const lines = entries.map(
    ([key, member]) => `${pad}${Array.isArray(value) ? '-' : `${key}:`}${naive(member, `${pad}  `)}`,
  );
  return `${pad === '' ? '' : '\n'}${lines.join('')}`;
}

test('control: a writer that does not quote is caught', (t) => {
  let caught = 0;
  for (const text of HOSTILE) {
    const intended = { kind: 'ConfigMap', metadata: { name: MARKER }, data: { plan: MARKER } };
    const marked = JSON.parse(plain(intended)) as unknown;
    const written = naive({ kind: 'ConfigMap', metadata: { name: text }, data: { plan: text } });
    try {
      const object = JSON.parse(theOneObject('naive', written));
      if (!isMarkedBy(text, marked, object)) caught += 1;
    } catch {
      caught += 1;
    }
  }
  t.diagnostic(`${caught} of ${HOSTILE.length} strings break it`);
  assert.ok(caught > HOSTILE.length / 2);
});
