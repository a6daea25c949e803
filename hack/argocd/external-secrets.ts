import { KubernetesApi } from '../../crds/store/kubernetes-api.ts';
import { KubernetesConnection } from '../../crds/store/kubernetes-connection.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { kubectlApply, kubectlEstablished } from './kubectl.ts';

const KINDS = { SecretStore: 'secretstores', ExternalSecret: 'externalsecrets' } as const;
const POLL_MS = 100;

interface Found {
  metadata: { name: string; namespace: string; generation?: number };
  status?: { conditions?: { status: string; message: string }[]; syncedResourceVersion?: string };
}

/**
 * A controller in the place of External Secrets: it says of every store and secret that it is ready, or what a
 * test gives as the fault of its kind. The kinds have their names and none of their schema.
 */
export class ExternalSecretsDouble {
  /** Kind -> the sentence of its fault. */
  readonly faults = new Map<keyof typeof KINDS, string>();
  readonly #api: KubernetesApi;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();

  private constructor(api: KubernetesApi) {
    this.#api = api;
  }

  static async start({ kubeconfig }: Pick<Cluster, 'kubeconfig'>): Promise<ExternalSecretsDouble> {
    const definitions = Object.entries(KINDS).map(([kind, plural]) => JSON.stringify(definition(kind, plural)));
    await kubectlApply(kubeconfig, definitions);
    const names = Object.values(KINDS).map((plural) => `${plural}.external-secrets.io`);
    await kubectlEstablished(kubeconfig, names);
    const double = new ExternalSecretsDouble(new KubernetesApi(new KubernetesConnection(kubeconfig)));
    double.#next();
    return double;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#round;
    clearTimeout(this.#timer);
    await this.#api.close();
  }

  #next(): void {
    this.#timer = setTimeout(() => {
      this.#round = this.#look().catch(() => undefined);
      void this.#round.then(() => this.#next());
    }, POLL_MS);
  }

  async #look(): Promise<void> {
    for (const [kind, plural] of Object.entries(KINDS) as [keyof typeof KINDS, string][]) {
      const root = '/apis/external-secrets.io/v1';
      const { items } = (await this.#api.call('GET', `${root}/${plural}`, { repeat: 'always' })) as { items: Found[] };
      for (const { metadata, status } of items) {
        const condition = conditionOf(kind, this.faults.get(kind));
        const present = status?.conditions?.[0];
        const version = `${metadata.generation ?? 1}-`;
        const same = present?.status === condition.status && present.message === condition.message;
        if (same && status?.syncedResourceVersion === version) continue;
        await this.#api.call('PATCH', `${root}/namespaces/${metadata.namespace}/${plural}/${metadata.name}/status`, {
          contentType: 'application/merge-patch+json',
          body: { status: { conditions: [condition], syncedResourceVersion: version } },
          repeat: 'always',
        });
      }
    }
  }
}

function conditionOf(kind: keyof typeof KINDS, fault: string | undefined) {
  const [good, bad] =
    kind === 'SecretStore' ? ['Valid', 'InvalidProviderConfig'] : ['SecretSynced', 'SecretSyncedError'];
  return fault === undefined
    ? { type: 'Ready', status: 'True', reason: good, message: 'ready' }
    : { type: 'Ready', status: 'False', reason: bad, message: fault };
}

function definition(kind: string, plural: string): object {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.external-secrets.io` },
    spec: {
      group: 'external-secrets.io',
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [{ name: 'v1', served: true, storage: true, schema, subresources: { status: {} } }],
    },
  };
}
