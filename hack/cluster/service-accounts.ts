import { KubernetesApi } from '../../crds/store/kubernetes-api.ts';
import { KubernetesConnection } from '../../crds/store/kubernetes-connection.ts';
import { ApiError } from '../../crds/store/kubernetes-errors.ts';
import type { Cluster } from './cluster.ts';

/** The shortest life that the API server gives a token. Seconds. */
export const TOKEN_MIN_SECONDS = 600;

export interface TokenWish {
  namespace: string;
  name: string;
  /** Absent: the API server's own. */
  audience?: string;
  /** Default: {@link TOKEN_MIN_SECONDS}. */
  seconds?: number;
}

/** Service accounts of a cluster and their tokens, as its administrator makes them. */
export class ServiceAccounts {
  readonly #api: KubernetesApi;

  constructor({ kubeconfig }: Pick<Cluster, 'kubeconfig'>) {
    this.#api = new KubernetesApi(new KubernetesConnection(kubeconfig));
  }

  /** Makes the namespace and the account unless they are there. @throws ApiError */
  async create(namespace: string, name: string): Promise<void> {
    await this.#ensure('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
    await this.#ensure(`/api/v1/namespaces/${namespace}/serviceaccounts`, account);
  }

  /** Its tokens are refused from now on. @throws ApiError */
  async remove(namespace: string, name: string): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}`;
    await this.#api.call('DELETE', path, { repeat: 'always' });
  }

  /** As the kubelet would mount it in a pod. @throws ApiError */
  async token({ namespace, name, audience, seconds = TOKEN_MIN_SECONDS }: TokenWish): Promise<string> {
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: seconds, ...(audience === undefined ? {} : { audiences: [audience] }) },
    };
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
    const answer = await this.#api.call('POST', path, { body, repeat: 'always' });
    return (answer as { status: { token: string } }).status.token;
  }

  /** Gives the account a ClusterRole everywhere. @throws ApiError */
  async bind(namespace: string, name: string, clusterRole: string): Promise<void> {
    await this.#ensure('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: `${namespace}-${name}-${clusterRole.replaceAll(':', '-')}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: clusterRole },
      subjects: [{ kind: 'ServiceAccount', name, namespace }],
    });
  }

  close(): Promise<void> {
    return this.#api.close();
  }

  async #ensure(collection: string, body: unknown): Promise<void> {
    try {
      await this.#api.call('POST', collection, { body, repeat: 'refused' });
    } catch (error) {
      if (ApiError.of(error).status !== 409) throw error;
    }
  }
}
