/** Rendered trees of every shape that the renderer knows, for properties that must hold for all of them. */
import * as fc from 'fast-check';
import { parse } from 'yaml';
import type { InstanceInput, ProjectInput } from '../../operator/render/input.ts';
import { defaultPlatform, renderInstance, renderProject } from '../../operator/render/render.ts';

const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
const uid = fc.uuid();
const host = fc.stringMatching(/^(\*\.)?[a-z]([-a-z0-9]{0,10}[a-z0-9])?\.(com|example|svc)(:[1-9][0-9]{0,3})?$/);
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.tuple(fc.ipV4(), fc.integer({ min: 8, max: 32 })).map((each) => each.join('/')),
);
const seconds = fc.record({ runSeconds: fc.integer({ min: 1, max: 3600 }) });
const versions = fc.uniqueArray(fc.record({ name, version: fc.integer({ min: 1, max: 1_000_000 }) }), {
  selector: (each) => each.name,
  maxLength: 4,
});

const project = fc.record({
  metadata: fc.record({ name, uid }),
  spec: fc.record(
    {
      runtimeProfile: fc.constantFrom('Shared' as const, 'Namespace' as const),
      quota: fc.record(
        {
          maxInstances: fc.nat(1000),
          cpuMillis: fc.nat(1_000_000),
          memoryMebibytes: fc.nat(16_777_216),
        },
        { requiredKeys: [] },
      ),
      egressAllowList: fc.array(fc.oneof(host, address), { maxLength: 6 }),
    },
    { requiredKeys: [] },
  ),
});

const contract = fc.record({
  offering: name,
  version: fc.stringMatching(/^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$/),
  secrets: fc.uniqueArray(
    fc.record({ name: name.map((text) => `s-${text}`), source: fc.constantFrom('Buyer', 'Generated', 'Platform') }),
    { selector: (each) => each.name, maxLength: 4 },
  ),
  connectors: fc.array(
    fc.record({
      name,
      url: host.map((text) => `https://${text.replace('*.', '')}/mcp`),
      egressHosts: fc.array(fc.oneof(host, address), { maxLength: 3 }),
    }),
    { maxLength: 3 },
  ),
  limits: seconds,
  plans: fc.array(fc.record({ name, limits: seconds }), { maxLength: 3 }),
}) as fc.Arbitrary<InstanceInput['contract']>;

const instance = fc.record({
  instance: fc.record({
    metadata: fc.record({ name, uid }),
    spec: fc.record({
      plan: name,
      config: fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<unknown>, { maxKeys: 5 }),
    }),
  }),
  contract,
  contractDigest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
  secretVersions: versions,
  effective: fc.constantFrom('Running' as const, 'Paused' as const),
});

export interface RandomTree {
  organization: ProjectInput['organization'];
  project: ProjectInput['project'];
  instances: Omit<InstanceInput, 'organization' | 'project' | 'platform'>[];
}

/** What random trees are rendered for: an installation that offers every profile. */
export const PLATFORM = {
  ...defaultPlatform('https://git.example.com/gsv/delivery.git', 'main'),
  runtime: { image: `mirror.example.com/lfx@sha256:${'5'.repeat(64)}` },
};

export const randomTree: fc.Arbitrary<RandomTree> = fc.record({
  organization: fc.record({ metadata: fc.record({ name, uid }) }),
  project,
  instances: fc.array(instance, { maxLength: 2 }),
}) as fc.Arbitrary<RandomTree>;

/** The Project and its Instances, as files. */
export function renderTree({ organization, project, instances }: RandomTree): Map<string, string> {
  const files = renderProject({ organization, project, projects: [project], platform: PLATFORM });
  for (const each of instances) {
    for (const [path, text] of renderInstance({ organization, project, platform: PLATFORM, ...each }))
      files.set(path, text);
  }
  return files;
}

/**
 * Every manifest by itself under `<path>#<kind>-<name>`, cut as Argo CD cuts a file: at each line that begins with
 * three dashes, whatever a YAML parser would think of it.
 */
export function manifestsOf(files: ReadonlyMap<string, string>): Map<string, string> {
  const found = new Map<string, string>();
  for (const [path, text] of files)
    for (const part of text.split(/^---.*\n/m)) found.set(`${path}#${nameOf(part)}`, part);
  return found;
}

function nameOf(text: string): string {
  const { kind, metadata } = parse(text) as { kind: string; metadata: { name: string } };
  return `${kind}-${metadata.name}`;
}
