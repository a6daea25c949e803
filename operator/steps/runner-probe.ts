import { request } from 'undici';
import { scrubText } from '../../config/log.ts';
import type { ProbePort, ProbeReply } from '../ports.ts';

export interface RunnerProbeOptions {
  /** Base URL of the runner. */
  url: string;
  /** `GSV_RUNNER_PROBE_KEY`; asked before every call, so that a rotated key is used at once. */
  key: () => string;
}

/** The runner loads an artifact of a few MiB and asks the runtime; more means it hangs. */
const PROBE_TIMEOUT_MS = 15_000;

/** The one internal call between the planes: `POST /internal/probe/{org}/{instance}`. */
export function runnerProbe({ url, key }: RunnerProbeOptions): ProbePort {
  return {
    probe: async (organization, instance) => {
      const path = `/internal/probe/${encodeURIComponent(organization)}/${encodeURIComponent(instance)}`;
      try {
        const response = await request(`${url}${path}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${key()}`, accept: 'application/json' },
          signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
        });
        return toReply(response.statusCode, await response.body.text());
      } catch {
        return { ok: false, code: 'runner_unavailable', detail: 'the runner does not answer.' };
      }
    },
  };
}

function toReply(status: number, text: string): ProbeReply {
  const body = parse(text);
  if (status === 200 && body.ok === true && typeof body.contractDigest === 'string')
    return { ok: true, contractDigest: body.contractDigest, secrets: (body.secrets ?? []) as never };
  const code = typeof body.code === 'string' ? body.code : 'unexpected_reply';
  const detail = typeof body.detail === 'string' ? body.detail : `the runner answered ${status}.`;
  return { ok: false, code, detail: scrubText(detail) };
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
