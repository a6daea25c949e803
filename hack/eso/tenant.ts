import { parse } from 'yaml';
import type { VaultSecrets } from '../../config/secrets/vault.ts';
import { secretPath, TENANT_ACCOUNT, TENANT_POLICY } from '../../config/secrets.ts';
import type { ExternalSecret } from '../../crds/kinds.ts';
import { RUNTIME_KEY } from '../../crds/runtime.ts';
import { workloadState } from '../../operator/delivery/argocd/workload-state.ts';
import type { DeclaredObject, WorkloadState } from '../../operator/delivery/delivery.ts';
import type { InstanceInput } from '../../operator/render/input.ts';
import { workloadNamespace } from '../../operator/render/paths.ts';
import type { Platform } from '../../operator/render/platform.ts';
import { defaultPlatform, renderInstance, renderProject } from '../../operator/render/render.ts';
import { kubectlApply } from '../argocd/kubectl.ts';
import { kubectl } from '../processes/kubectl.ts';
import { manifestsOf } from '../testing/rendered.ts';

/** Kinds of a rendered tree that need Argo CD. */
const ARGO_KINDS = ['Application', 'AppProject'];
const IMAGE = `registry.example/lfx@sha256:${'0'.repeat(64)}`;

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; annotations?: Record<string, string> };
  spec?: Record<string, unknown>;
}

/** What a tenant's secrets are worth, as the cluster shows it. */
export interface Shown {
  /** Of the ExternalSecret, without the times. */
  condition?: Condition;
  /** What the operator makes of it. */
  state: WorkloadState;
  /** Decoded. Absent: there is no such Secret. */
  values?: Record<string, string>;
}
type Condition = { status: string; reason?: string; message?: string };

/** Edits a rendered manifest before it is applied: what a hand in Git could do to it. */
export type Edit = (manifest: Manifest) => void;

/** A Project's workload namespace, with our rendered manifests applied as Argo CD applies them. */
export class Tenant {
  readonly namespace: string;
  readonly #organization: string;
  readonly #kubeconfig: string;
  readonly #profile: 'Shared' | 'Namespace';
  readonly #platform: Platform;
  #rendered: Manifest[] = [];

  constructor(
    organization: string,
    kubeconfig: string,
    vault: { url: string; mount: string },
    profile: 'Shared' | 'Namespace' = 'Shared',
  ) {
    this.#organization = organization;
    this.#profile = profile;
    this.#kubeconfig = kubeconfig;
    const platform = defaultPlatform('file:///nowhere', 'main');
    this.#platform = {
      ...platform,
      vault: { ...platform.vault, server: vault.url, mount: vault.mount },
      runtime: { image: IMAGE },
    };
    this.namespace = workloadNamespace(organization, 'default', `${organization}-project`);
  }

  /** The Project: its role in Vault, as the operator writes it, then its manifests. */
  async open(operator: VaultSecrets, edit: Edit = () => undefined): Promise<void> {
    const { namespace } = this;
    await operator.putRole(namespace, { serviceAccount: TENANT_ACCOUNT, namespace, policies: [TENANT_POLICY] });
    const { organization, project } = this.#names;
    await this.#apply(renderProject({ organization, project, projects: [project], platform: this.#platform }), edit);
  }

  /** One Instance with these secrets, in these versions. */
  async instance(name: string, versions: Record<string, number>, edit: Edit = () => undefined): Promise<void> {
    const names = Object.keys(versions).filter((each) => each !== RUNTIME_KEY);
    const secrets = names.map((each) => ({ name: each, source: 'Buyer' as const }));
    const input: InstanceInput = {
      ...this.#names,
      instance: { metadata: { name, uid: `${name}-uid` }, spec: { plan: 'pro' } },
      contract: {
        ...{ offering: 'claims-agent', version: '1.0.0', secrets, connectors: [], plans: [] },
        limits: { runSeconds: 120 },
      },
      contractDigest: `sha256:${'0'.repeat(64)}`,
      platform: this.#platform,
      secretVersions: Object.entries(versions).map(([each, version]) => ({ name: each, version })),
    };
    await this.#apply(renderInstance(input), edit);
  }

  /** Of an Instance's secret, in Vault. */
  path(name: string, secret: string): string {
    return secretPath(this.namespace, `${name}-uid`, secret);
  }

  async shown(name: string): Promise<Shown> {
    const secret = await this.externalSecret(name);
    const state = workloadState({
      objects: this.rendered('ExternalSecret', `i-${name}`).slice(0, 1).map(declared),
      externalSecrets: secret === undefined ? [] : [secret],
      deployments: [],
    });
    const ready = secret?.status?.conditions?.find(({ type }) => type === 'Ready');
    const values = await this.values(name);
    return {
      state,
      ...(ready === undefined ? {} : { condition: conditionOf(ready) }),
      ...(values === undefined ? {} : { values }),
    };
  }

  /** What was rendered of a kind, the newest first, before it was edited. */
  rendered(kind: string, name?: string): Manifest[] {
    return this.#rendered.filter((each) => each.kind === kind && (name ?? each.metadata.name) === each.metadata.name);
  }

  async externalSecret(name: string): Promise<ExternalSecret | undefined> {
    return this.#get<ExternalSecret>('externalsecret', `i-${name}`);
  }

  async storeCondition(): Promise<Condition | undefined> {
    const found = await this.#get<{ status?: { conditions?: (Condition & { type: string })[] } }>(
      'secretstore',
      'project',
    );
    const ready = found?.status?.conditions?.find(({ type }) => type === 'Ready');
    return ready && conditionOf(ready);
  }

  async values(name: string): Promise<Record<string, string> | undefined> {
    const secret = await this.#get<{ data?: Record<string, string> }>('secret', `i-${name}`);
    if (secret === undefined) return undefined;
    const entries = Object.entries(secret.data ?? {});
    return Object.fromEntries(entries.map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]));
  }

  /** What External Secrets has told of an object, newest last. */
  async events(kind: string, name: string): Promise<string> {
    const selector = `involvedObject.kind=${kind},involvedObject.name=${name}`;
    const path = '{range .items[*]}{.reason}: {.message}{"\\n"}{end}';
    return this.kubectl('get', 'events', `--field-selector=${selector}`, '-o', `jsonpath=${path}`);
  }

  kubectl(...args: string[]): Promise<string> {
    return kubectl(this.#kubeconfig, '-n', this.namespace, ...args);
  }

  get #names() {
    const organization = { metadata: { name: this.#organization, uid: `${this.#organization}-uid` } };
    const project = { metadata: { name: 'default', uid: `${this.#organization}-project` } };
    return { organization, project: { ...project, spec: { runtimeProfile: this.#profile } } };
  }

  async #apply(files: ReadonlyMap<string, string>, edit: Edit): Promise<void> {
    const manifests = [...manifestsOf(files).values()].map((text) => parse(text) as Manifest);
    const ours = manifests.filter(({ kind }) => !ARGO_KINDS.includes(kind));
    this.#rendered = [...structuredClone(ours), ...this.#rendered];
    for (const manifest of ours) edit(manifest);
    for (const wave of [...new Set(ours.map(waveOf))].sort((one, other) => one - other)) {
      const now = ours.filter((manifest) => waveOf(manifest) === wave);
      await kubectlApply(
        this.#kubeconfig,
        now.map((manifest) => JSON.stringify(manifest)),
      );
    }
  }

  async #get<T>(kind: string, name: string): Promise<T | undefined> {
    const text = await this.kubectl('get', kind, name, '--ignore-not-found', '-o', 'json');
    return text.trim() === '' ? undefined : (JSON.parse(text) as T);
  }
}

function waveOf({ kind, metadata }: Manifest): number {
  // Its Namespace is the platform's, and there before.
  return kind === 'Namespace' ? -Infinity : Number(metadata.annotations?.['argocd.argoproj.io/sync-wave'] ?? 0);
}

/** As the operator knows it from the commit. */
export function declared({ apiVersion, kind, metadata }: Manifest): DeclaredObject {
  return { group: apiVersion.split('/')[0] ?? '', kind, ...metadata };
}

function conditionOf({ status, reason, message }: Condition): Condition {
  return {
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}
