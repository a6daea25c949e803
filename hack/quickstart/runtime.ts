import { PhaseError } from './phases.ts';

/** A runtime on this machine answers in milliseconds; a cold remote one within this. */
const ANSWER_MS = 15_000;

/**
 * Asks somebody's own runtime for its flows, so that a wrong address or key is said at once and not
 * after the Instance has waited its three minutes.
 *
 * @throws PhaseError start/`runtime_unavailable`, start/`runtime_key_refused`
 */
export async function requireRuntime({ url, key }: { url: string; key: string }): Promise<void> {
  let response: Response;
  try {
    response = await fetch(`${url}/flows`, {
      headers: { 'x-api-key': key },
      redirect: 'manual',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch (cause) {
    const detail = `nothing answers at ${url}; start the runtime (lfx serve) or correct --runtime-url`;
    throw new PhaseError('start', 'runtime_unavailable', detail, { cause });
  }
  await response.body?.cancel();
  if (response.status === 401 || response.status === 403) {
    const detail = `the runtime at ${url} refuses the key; give --runtime-key the value of its LANGFLOW_API_KEY`;
    throw new PhaseError('start', 'runtime_key_refused', detail);
  }
}
