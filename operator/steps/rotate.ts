import { type SecretMetadata, SecretsError, secretPath } from '../../config/secrets.ts';
import type { ContractSecret } from '../../crds/contract.ts';
import type { InstanceStatus } from '../../crds/generated/kinds.ts';
import { RUNTIME_KEY } from '../../crds/runtime.ts';
import type { Ports, ProbeReply } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';
import type { InstanceVisit } from './accept.ts';
import { throughSecrets } from './doors.ts';
import { requestOf } from './request.ts';
import { generate, type PresentSecrets, type SecretVersions } from './secrets.ts';

type Rotation = NonNullable<InstanceStatus['rotation']>;
type Rotated = NonNullable<Rotation['secrets']>[number];

/** "Do it now": an RFC 3339 time, echoed in `status.rotation.requestedAt` once acted on. */
export const ROTATE_ANNOTATION = 'store.gsv.dev/rotate-requested-at';

/** A runtime that restarts with a new credential is back within seconds. */
const PROOF_RETRY_MS = 2_000;
/** KV v2 keeps 10 versions unless told otherwise; of a secret set very often the oldest are gone by themselves. */
const MAX_RETIRED = 100;
const DAY_MS = 86_400_000;

/**
 * Begins a rotation where one is asked for or due: generated secrets get their next version, exactly one
 * for each request. What tells "not yet written" from "written by an attempt that died" is the version
 * in status, which only moves together with the rotation's own record. A version that somebody else set
 * (a buyer, the platform) takes the same way from here on.
 *
 * @returns the versions to deliver
 */
export async function rotate(
  visit: InstanceVisit,
  declared: readonly ContractSecret[],
  present: PresentSecrets,
  workloadNamespace: string,
  { secrets: store }: Pick<Ports, 'secrets'>,
): Promise<SecretVersions> {
  const known = new Map(visit.object.status?.secretVersions?.map(({ name, version }) => [name, version]));
  const previous = visit.object.status?.rotation;
  const request = requestOf(visit, ROTATE_ANNOTATION, previous?.requestedAt);
  const versions: SecretVersions = [];
  for (const secret of declared) {
    const found = present.get(secret.name);
    if (found === undefined) continue;
    const untouched = known.get(secret.name) === found.version;
    const wanted = untouched && rotatable(secret) && (request !== undefined || isDue(secret, found, visit.nowMs));
    const path = secretPath(workloadNamespace, visit.object.metadata.uid, secret.name);
    const version = wanted ? await nextVersion(secret, path, found.version, store) : found.version;
    versions.push({ name: secret.name, version });
  }
  visit.status.rotation = recorded(previous, changesOf(versions, known), request, visit.now);
  return versions;
}

/** The key of an Instance's own runtime is no credential of the tenant, and changing it would cut runs off. */
function rotatable({ source, name }: ContractSecret): boolean {
  return source === 'Generated' && name !== RUNTIME_KEY;
}

function isDue({ rotation }: ContractSecret, { updatedTime }: SecretMetadata, nowMs: number): boolean {
  return rotation.periodDays !== undefined && nowMs >= Date.parse(updatedTime) + rotation.periodDays * DAY_MS;
}

async function nextVersion(
  secret: ContractSecret,
  path: string,
  version: number,
  store: Ports['secrets'],
): Promise<number> {
  try {
    return (await throughSecrets(() => store.write(path, { value: generate(secret) }, { cas: version }))).version;
  } catch (error) {
    // Somebody was faster; theirs is the new version.
    if (!(error instanceof SecretsError)) throw error;
    return (await throughSecrets(() => store.metadata(path)))?.version ?? version;
  }
}

function changesOf(versions: SecretVersions, known: ReadonlyMap<string, number>): Rotated[] {
  return versions.flatMap(({ name, version }) => {
    const from = known.get(name);
    return from === undefined || from >= version ? [] : [{ name, from, to: version }];
  });
}

/** A rotation that begins before the last one has retired its versions takes them over. */
function recorded(
  previous: Rotation | undefined,
  changes: readonly Rotated[],
  request: string | undefined,
  now: string,
): Rotation | undefined {
  if (changes.length === 0 && request === undefined) return previous;
  const requestedAt = request ?? previous?.requestedAt;
  const asked = requestedAt === undefined ? {} : { requestedAt };
  if (changes.length === 0) return { phase: 'Done', startedAt: now, ...previous, ...asked };
  const open = previous?.phase === 'Done' ? [] : (previous?.secrets ?? []);
  const taken = changes.map((change) => ({
    ...change,
    from: Math.min(change.from, open.find(({ name }) => name === change.name)?.from ?? change.from),
  }));
  const others = open.filter(({ name }) => !changes.some((change) => change.name === name));
  return { ...asked, phase: 'Proving', startedAt: now, secrets: [...taken, ...others] };
}

/**
 * The runner resolves every new version: only then do the old ones begin to end.
 *
 * @throws Waiting `RotationUnproven`
 */
export function prove(visit: InstanceVisit, { secrets }: Extract<ProbeReply, { ok: true }>): void {
  const { rotation } = visit.status;
  if (rotation?.phase !== 'Proving') return;
  const used = new Map(secrets.map(({ name, version }) => [name, version]));
  const behind = rotation.secrets?.find(({ name, to }) => name !== RUNTIME_KEY && (used.get(name) ?? 0) < to);
  if (behind !== undefined)
    throw new Waiting(
      PROOF_RETRY_MS,
      'RotationUnproven',
      `A run would still use an earlier version of "${behind.name}".`,
    );
  visit.status.rotation = { ...rotation, phase: 'Overlap', provenAt: visit.now };
}

/** Destroys the old versions once everybody has had the overlap to take the new ones. */
export async function retire(
  visit: InstanceVisit,
  declared: readonly ContractSecret[],
  workloadNamespace: string,
  { secrets: store }: Pick<Ports, 'secrets'>,
): Promise<void> {
  const { rotation } = visit.status;
  if (rotation?.phase !== 'Overlap') return;
  const leftMs = Date.parse(rotation.provenAt ?? visit.now) + overlapMs(rotation, declared) - visit.nowMs;
  if (leftMs > 0) {
    visit.againAfterMs = Math.min(visit.againAfterMs ?? leftMs, leftMs);
    return;
  }
  for (const { name, from, to } of rotation.secrets ?? []) {
    const first = Math.max(1, from, to - MAX_RETIRED);
    const old = Array.from({ length: Math.max(0, to - first) }, (_, index) => first + index);
    const path = secretPath(workloadNamespace, visit.object.metadata.uid, name);
    if (old.length > 0) await throughSecrets(() => store.destroyVersions(path, old));
  }
  visit.status.rotation = { ...rotation, phase: 'Done' };
}

function overlapMs({ secrets = [] }: Rotation, declared: readonly ContractSecret[]): number {
  const seconds = secrets.map(
    ({ name }) => declared.find((secret) => secret.name === name)?.rotation.overlapSeconds ?? 0,
  );
  return Math.max(0, ...seconds) * 1000;
}

/** Milliseconds to the next rotation by period. */
export function untilDueMs(
  declared: readonly ContractSecret[],
  present: PresentSecrets,
  nowMs: number,
): number | undefined {
  const left = declared.filter(rotatable).flatMap(({ name, rotation: { periodDays } }) => {
    const found = present.get(name);
    if (found === undefined || periodDays === undefined) return [];
    return [Math.max(1, Date.parse(found.updatedTime) + periodDays * DAY_MS - nowMs)];
  });
  return left.length === 0 ? undefined : Math.min(...left);
}
