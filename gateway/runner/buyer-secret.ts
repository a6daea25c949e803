import { type SecretMetadata, type SecretsBroker, secretPath } from '../../config/secrets.ts';
import type { RunTicket } from '../ticket.ts';
import type { Bindings } from './binding.ts';
import { secretsProblem } from './globals.ts';
import { runnerProblem } from './problems.ts';

export interface BuyerSecretWrite {
  value: string;
  /** The version that must be the present one; 0 = none yet. */
  version?: number;
}

/**
 * Sets one secret that the contract leaves to the buyer. The write goes through the runner's own
 * write-only right (`SecretsBroker.writeBuyerSecret`), never through a run's session, which only reads.
 *
 * @throws Problem `secret_not_declared`, `version_conflict`, `instance_not_found`, `instance_not_ready`, `secrets_unavailable`
 */
export async function writeBuyerSecret(
  parts: { bindings: Bindings; secrets: SecretsBroker },
  ticket: RunTicket & { secret: string },
  write: BuyerSecretWrite,
): Promise<SecretMetadata & { name: string }> {
  const { organization, name, uid } = ticket.instance;
  const binding = await parts.bindings.present(organization, name);
  if (binding.instance.metadata.uid !== uid)
    throw runnerProblem('instance_not_found', `there is no Instance ${organization}/${name}`);
  const declared = await parts.bindings.declaredSecrets(binding);
  if (!declared.some(({ name: each, source }) => each === ticket.secret && source === 'Buyer'))
    throw runnerProblem('secret_not_declared', `the Instance takes no secret ${ticket.secret} from its buyer`);
  const path = secretPath(await parts.bindings.workloadNamespace(binding), uid, ticket.secret);
  const options = write.version === undefined ? {} : { cas: write.version };
  try {
    const metadata = await parts.secrets.writeBuyerSecret(path, { value: write.value }, options);
    return { name: ticket.secret, ...metadata };
  } catch (error) {
    throw secretsProblem(error);
  }
}
