import { createHash } from 'node:crypto';
import type { DeclaredObject } from '../delivery/delivery.ts';
import type { Change } from '../git/writer.ts';
import type { Ports } from '../ports.ts';
import { instanceManifests, instanceOwns, type Manifest, renderInstance } from '../render/render.ts';
import type { Accepted, InstanceVisit } from './accept.ts';
import { throughGit, throughRender } from './doors.ts';
import type { SecretVersions } from './secrets.ts';

/** One change of Git, and what its manifests declare: for the delivery to look for. */
export interface Rendered extends Change {
  objects: DeclaredObject[];
}

/** `render`: the manifests of the Instance; of one that is paused without its workload. Pure. */
export function render(
  visit: InstanceVisit,
  accepted: Accepted,
  secretVersions: SecretVersions,
  effective: 'Running' | 'Paused',
  { platform }: Pick<Ports, 'platform'>,
): Rendered {
  const { organization, project, contract, contractDigest } = accepted;
  const instance = visit.object;
  return throughRender(() => {
    const input = {
      organization,
      project,
      instance,
      contract,
      contractDigest,
      platform,
      secretVersions,
      effective,
    };
    const manifests = instanceManifests(input);
    const files = renderInstance(input, manifests);
    return {
      owns: instanceOwns({ organization, project, instance }),
      files,
      subject: `Instance ${organization.metadata.name}/${instance.metadata.name}: ${contract.offering} ${contract.version}`,
      trailers: trailersOf('Instance', instance.metadata, files),
      objects: manifests.map(declared),
    };
  });
}

/** `commit`: the commit on the remote that contains the manifests; an equal tree commits nothing. */
export async function commit(
  change: Change,
  { git }: Pick<Ports, 'git'>,
): Promise<{ commit: string; changed: boolean }> {
  return throughGit(() => git.commit(change));
}

function declared({ apiVersion, kind, metadata }: Manifest): DeclaredObject {
  const group = apiVersion.split('/').slice(0, -1).join('/');
  const { name, annotations } = metadata as Pick<DeclaredObject, 'name' | 'annotations'>;
  return annotations === undefined ? { group, kind, name } : { group, kind, name, annotations };
}

/**
 * The effect id is a digest of what is written, so a repeated attempt carries the same one, and the
 * same generation with other secret versions another.
 */
export function trailersOf(
  kind: string,
  metadata: { uid: string; generation: number },
  files: ReadonlyMap<string, string>,
): Record<string, string> {
  const hash = createHash('sha256').update(metadata.uid);
  for (const path of [...files.keys()].sort()) hash.update(`\0${path}\0${files.get(path)}`);
  return {
    [`Gsv-${kind}-Uid`]: metadata.uid,
    'Gsv-Generation': String(metadata.generation),
    'Gsv-Effect': hash.digest('hex').slice(0, 16),
  };
}
