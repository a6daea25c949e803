import type { Application, Deployment, ExternalSecret, KindMap } from '../../../crds/kinds.ts';
import { keyText, type ResourceCache } from '../../../crds/store.ts';
import type { DeliveryEvent } from '../delivery.ts';

const LABEL = {
  organization: 'store.gsv.dev/organization',
  project: 'store.gsv.dev/project',
  instanceUid: 'store.gsv.dev/instance-uid',
} as const;

type Listener = (event: DeliveryEvent) => void;

/**
 * Tells whose delivery to look at when an Application, an ExternalSecret or a Deployment has changed in what is
 * read of it. Argo CD writes an Application at every comparison; most of those writes say nothing new.
 */
export class DeliveryEvents {
  readonly #applications: ResourceCache<'Application'>;
  readonly #externalSecrets: ResourceCache<'ExternalSecret'>;
  readonly #deployments: ResourceCache<'Deployment'>;

  constructor(
    applications: ResourceCache<'Application'>,
    externalSecrets: ResourceCache<'ExternalSecret'>,
    deployments: ResourceCache<'Deployment'>,
  ) {
    this.#applications = applications;
    this.#externalSecrets = externalSecrets;
    this.#deployments = deployments;
  }

  onChange(listener: Listener): () => void {
    const ends = [
      follow(this.#applications, applicationDigests, (application, before, now) => {
        const { [LABEL.organization]: organization, [LABEL.project]: project } = application.metadata.labels ?? {};
        if (organization === undefined || project === undefined) return;
        listener({ organization, project, everybody: before?.[0] !== now?.[0] });
      }),
      follow(this.#externalSecrets, workloadDigest, tellInstance(listener)),
      follow(this.#deployments, workloadDigest, tellInstance(listener)),
    ];
    return () => {
      for (const end of ends) end();
    };
  }
}

function tellInstance(listener: Listener): (object: Deployment | ExternalSecret) => void {
  return ({ metadata }) => {
    const instanceUid = metadata.labels?.[LABEL.instanceUid];
    if (instanceUid !== undefined) listener({ instanceUid });
  };
}

/** What concerns everybody (errors), and what only concerns those who wait. */
function applicationDigests({ metadata, status }: Application): string[] {
  const { sync, operationState: operation, conditions, resources, history } = status ?? {};
  const errors = conditions?.filter(({ type }) => type.endsWith('Error')).map(({ type, message }) => [type, message]);
  return [
    JSON.stringify([metadata.uid, metadata.deletionTimestamp, errors ?? []]),
    JSON.stringify([sync?.status, sync?.revision, operation?.phase, operation?.retryCount, history?.at(-1)?.revision]),
    JSON.stringify(resources?.map(({ kind, name, status: state }) => [kind, name, state])),
  ];
}

function workloadDigest({ metadata, status }: Deployment | ExternalSecret): string[] {
  const { deletionTimestamp, generation, annotations } = metadata;
  const conditions = status?.conditions?.map((condition) => [condition.type, condition.status, condition.message]);
  const { observedGeneration, syncedResourceVersion } = { observedGeneration: 0, syncedResourceVersion: '', ...status };
  return [
    JSON.stringify([deletionTimestamp, generation, annotations, conditions, observedGeneration, syncedResourceVersion]),
  ];
}

/** Calls back when an object appears, changes its digests, or goes; then with its last state. */
function follow<K extends 'Application' | 'ExternalSecret' | 'Deployment'>(
  cache: ResourceCache<K>,
  digests: (object: KindMap[K]) => string[],
  changed: (object: KindMap[K], before: string[] | undefined, now: string[] | undefined) => void,
): () => void {
  const seen = new Map<string, { object: KindMap[K]; digests: string[] }>();
  return cache.onChange((key) => {
    const name = keyText(key);
    const object = cache.get(key);
    const known = seen.get(name);
    if (object === undefined) {
      seen.delete(name);
      if (known !== undefined) changed(known.object, known.digests, undefined);
      return;
    }
    const now = digests(object);
    seen.set(name, { object, digests: now });
    if (known === undefined || known.digests.some((digest, at) => digest !== now[at]))
      changed(object, known?.digests, now);
  });
}
