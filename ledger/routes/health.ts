import { readiness } from '../../config/ops.ts';
import { boolean, list, reply, text } from './fields.ts';
import type { LedgerParts } from './parts.ts';
import type { Endpoint } from './route.ts';

/** Liveness and readiness on the API port, for those who know only that one. */
export function healthEndpoints({ ready }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/livez',
      scope: 'public',
      summary: 'Whether the process lives',
      replies: { 200: reply({ live: boolean }) },
      handle: async () => ({ status: 200, body: { live: true } }),
    },
    {
      method: 'GET',
      path: '/readyz',
      scope: 'public',
      summary: 'Whether the process can serve',
      replies: {
        200: reply({ ready: boolean }),
        503: reply({ ready: boolean, reasons: list(text(1_024)) }),
      },
      handle: async ({ log }) => {
        const reasons = await readiness(ready, log);
        return reasons.length === 0
          ? { status: 200, body: { ready: true } }
          : { status: 503, body: { ready: false, reasons } };
      },
    },
  ];
}
