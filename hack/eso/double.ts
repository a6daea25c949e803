import { createHash } from 'node:crypto';
import type { ExternalSecretStatus } from '../../crds/foreign.ts';
import type { ObjectMeta } from '../../crds/kinds.ts';

/** `synced`: every value was there. `unreadable`: one was not, whatever the cause; its status does not tell which. */
export type Verdict = 'synced' | 'unreadable';

const CONDITIONS = {
  synced: { type: 'Ready', status: 'True', reason: 'SecretSynced', message: 'secret synced' },
  unreadable: {
    type: 'Ready',
    status: 'False',
    reason: 'SecretSyncedError',
    message: 'could not get secret data from provider',
  },
} as const;

/**
 * What External Secrets writes about an ExternalSecret of ours, as `double.real.ts` holds it to: what it last
 * brought in line stays as it was while it cannot read.
 *
 * @param now RFC 3339
 */
export function externalSecretStatus(
  metadata: Pick<ObjectMeta, 'generation' | 'labels' | 'annotations'>,
  verdict: Verdict,
  before: ExternalSecretStatus | undefined,
  now: string,
): ExternalSecretStatus {
  const conditions = [{ ...CONDITIONS[verdict], lastTransitionTime: now }];
  if (verdict === 'unreadable') return { ...before, conditions };
  return { conditions, refreshTime: now, syncedResourceVersion: `${metadata.generation}-${hashOf(metadata)}` };
}

/** Over Go's text of a struct of two maps. */
function hashOf({ labels = {}, annotations = {} }: Pick<ObjectMeta, 'labels' | 'annotations'>): string {
  const map = (entries: Readonly<Record<string, string>>): string =>
    `map[${Object.keys(entries)
      .sort()
      .map((key) => `${key}:${entries[key]}`)
      .join(' ')}]`;
  return createHash('sha3-224')
    .update(`{annotations:${map(annotations)} labels:${map(labels)}}`)
    .digest('hex');
}
