import { randomInt } from 'node:crypto';
import { instancePolicy, type SecretMetadata, SecretsError, secretPath } from '../../config/secrets.ts';
import type { ContractSecret } from '../../crds/contract.ts';
import { organizationOf } from '../../crds/kinds.ts';
import { RUNTIME_KEY } from '../../crds/runtime.ts';
import type { Ports } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';
import type { Accepted, InstanceVisit } from './accept.ts';
import { throughSecrets } from './doors.ts';

/** Nobody tells the operator that a secret was set; a person has just done it and is watching. */
const SECRET_RETRY_MS = 5_000;

const ALPHABETS = {
  Alphanumeric: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
  Hex: '0123456789abcdef',
  Base64Url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
} as const;

/** The API key of an Instance's own runtime: as much chance as a 256-bit key. */
const RUNTIME_KEY_SECRET: ContractSecret = {
  name: RUNTIME_KEY,
  capability: '',
  source: 'Generated',
  generator: { length: 43, alphabet: 'Base64Url' },
  rotation: { overlapSeconds: 0 },
};

export type SecretVersions = { name: string; version: number }[];

/** Present versions by name, in the order of the contract. */
export type PresentSecrets = ReadonlyMap<string, SecretMetadata>;

/** The contract's secrets, and under profile Namespace the key of the Instance's own runtime. */
export function declaredSecrets({ contract, project }: Pick<Accepted, 'contract' | 'project'>): ContractSecret[] {
  return project.spec.runtimeProfile === 'Namespace' ? [...contract.secrets, RUNTIME_KEY_SECRET] : contract.secrets;
}

/**
 * `secrets`: the policy that lets a run read this Instance's secrets, generated secrets written once,
 * and all others present. Values are written, never read.
 */
export async function secrets(
  visit: InstanceVisit,
  declared: readonly ContractSecret[],
  workloadNamespace: string,
  { secrets: store }: Ports,
): Promise<PresentSecrets> {
  const { uid } = visit.object.metadata;
  const rules = [{ path: `t/${workloadNamespace}/${uid}/*`, capabilities: ['read' as const] }];
  await throughSecrets(() => store.putPolicy(instancePolicy(uid), rules));
  const found = new Map<string, SecretMetadata>();
  const absent: ContractSecret[] = [];
  for (const secret of declared) {
    const present = await presentVersion(secret, secretPath(workloadNamespace, uid, secret.name), store);
    if (present === undefined) absent.push(secret);
    else found.set(secret.name, present);
  }
  refuseAbsent(visit, absent);
  return found;
}

/**
 * Whether all secrets are set that a version asks for and nobody generates: before it is switched to.
 *
 * @throws Waiting `BuyerSecretMissing`, `PlatformSecretMissing`
 */
export async function checkNewSecrets(
  visit: InstanceVisit,
  terms: Pick<Accepted, 'contract' | 'project'>,
  { secrets: store }: Ports,
): Promise<void> {
  const { metadata, status } = visit.object;
  const known = new Set(status?.secretVersions?.map(({ name }) => name));
  const absent: ContractSecret[] = [];
  for (const secret of declaredSecrets(terms)) {
    if (secret.source === 'Generated' || known.has(secret.name)) continue;
    const path = secretPath(status?.workloadNamespace ?? '', metadata.uid, secret.name);
    if ((await throughSecrets(() => store.metadata(path))) === undefined) absent.push(secret);
  }
  refuseAbsent(visit, absent);
}

async function presentVersion(
  secret: ContractSecret,
  path: string,
  store: Ports['secrets'],
): Promise<SecretMetadata | undefined> {
  const present = await throughSecrets(() => store.metadata(path));
  if (present !== undefined || secret.source !== 'Generated') return present;
  try {
    return await throughSecrets(() => store.write(path, { value: generate(secret) }, { cas: 0 }));
  } catch (error) {
    // Somebody wrote it between our look and our write; theirs is the value.
    if (!(error instanceof SecretsError)) throw error;
    return throughSecrets(() => store.metadata(path));
  }
}

/** A fresh value by the contract's generator. */
export function generate({ generator }: ContractSecret): string {
  const { length, alphabet } = generator ?? { length: 32, alphabet: 'Alphanumeric' as const };
  const letters = ALPHABETS[alphabet];
  return Array.from({ length }, () => letters[randomInt(letters.length)]).join('');
}

function refuseAbsent(visit: InstanceVisit, absent: readonly ContractSecret[]): void {
  const names = (source: ContractSecret['source']) => absent.filter((each) => each.source === source).map(quoted);
  const buyer = names('Buyer');
  if (buyer.length > 0) {
    const path = `/api/orgs/${organizationOf(visit.key.namespace)}/instances/${visit.key.name}/secrets/{secret}`;
    throw new Waiting(
      SECRET_RETRY_MS,
      'BuyerSecretMissing',
      `Not set yet: ${buyer.join(', ')}; set it with PUT ${path}.`,
    );
  }
  if (absent.length > 0)
    throw new Waiting(SECRET_RETRY_MS, 'PlatformSecretMissing', `Not set yet: ${absent.map(quoted).join(', ')}.`);
}

function quoted({ name }: { name: string }): string {
  return `"${name}"`;
}
