/** What Vault's answers mean: pure, so that the adapter only asks. */
import { SecretsError } from '../secrets.ts';
import { describe, type VaultAnswer } from './vault-http.ts';

/** A secret, folder or policy that is not there: 404 without an error. With one, the mount is missing. */
export function absent({ status, complained }: VaultAnswer): boolean {
  return status === 404 && !complained;
}

export function refusal(answer: VaultAnswer, what: string): SecretsError {
  const denied = answer.status === 403 || answer.words.includes("must be subset of the role's allowed policies");
  const code = denied ? 'permission_denied' : 'unavailable';
  return new SecretsError(code, `${what}: Vault answered ${describe(answer)}`, { words: answer.words.join('; ') });
}

/** Names of a listing; none when there is no such folder. @throws SecretsError */
export function listed(answer: VaultAnswer, folder: string): string[] {
  if (absent(answer)) return [];
  const { keys } = (answer.body.data ?? {}) as { keys?: unknown };
  if (answer.status !== 200 || !Array.isArray(keys)) throw refusal(answer, `${folder} was not listed`);
  return keys as string[];
}

/**
 * Whether a role as Vault shows it is the one that would be written. Vault answers lists for the text that
 * was sent, seconds for durations, and members that nobody set; of those only what widens a login counts.
 */
export function roleIs(data: unknown, wanted: Record<string, string>): boolean {
  if (typeof data !== 'object' || data === null) return false;
  const present = data as Record<string, unknown>;
  const same = Object.entries(wanted).every(([name, value]) => text(present[name]) === text(value));
  const selector = present.bound_service_account_namespace_selector;
  return same && (selector === undefined || selector === '');
}

function text(value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  const [, minutes] = /^(\d+)m$/.exec(String(value)) ?? [];
  return minutes === undefined ? String(value) : String(Number(minutes) * 60);
}
