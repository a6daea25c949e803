import type { Value } from './yaml.ts';

/**
 * External Secrets reads again this often without being told; rotation does not wait for it. In the words in which
 * it writes a duration back, or its first visit would change the spec.
 */
const REFRESH_INTERVAL = '1h0m0s';

/**
 * What the kind's definition puts into each entry by itself. Argo CD, which knows no defaults within a list, would
 * find the whole list different, for ever.
 */
const ENTRY_DEFAULTS = { conversionStrategy: 'Default', decodingStrategy: 'None', metadataPolicy: 'None' };

/** One key of the Secret, and the value of Vault that it is to hold; with `version` exactly that one. */
type Entry = { secretKey: string; remoteRef: { key: string; property: string; version?: string } };

/**
 * The spec of an ExternalSecret that makes one Secret of the Project's store.
 *
 * @param labels of the Secret; without any it would take over those of the ExternalSecret, Argo CD's among them
 */
export function externalSecretSpec(
  name: string,
  labels: Record<string, string>,
  data: Entry[],
): { [member: string]: Value } {
  return {
    refreshPolicy: 'Periodic',
    refreshInterval: REFRESH_INTERVAL,
    secretStoreRef: { kind: 'SecretStore', name: 'project' },
    target: {
      name,
      // The Secret goes with the ExternalSecret: Kubernetes collects what has lost its owner.
      creationPolicy: 'Owner',
      // `Delete` and `Merge` leave a value out that is missing in Vault, and call the result Ready.
      deletionPolicy: 'Retain',
      template: { metadata: { labels } },
    },
    data: data.map(({ secretKey, remoteRef }) => ({ secretKey, remoteRef: { ...remoteRef, ...ENTRY_DEFAULTS } })),
  };
}
