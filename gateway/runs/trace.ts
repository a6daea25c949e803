import { randomBytes } from 'node:crypto';

/** Where a run hangs in its trace: W3C Trace Context, level 1. */
export interface Trace {
  traceId: string;
  /** What the edge sends on: same trace, own span. */
  traceparent: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_SPAN = '0'.repeat(16);

/** Continues the caller's trace, or begins one when there is none or it is malformed. */
export function continueTrace(header: string | string[] | undefined): Trace {
  const match = typeof header === 'string' ? TRACEPARENT.exec(header) : null;
  const [, version, trace, span, flags, rest] = match ?? [];
  // Version ff is invalid; only later versions than 00 may carry more fields.
  const valid =
    trace && span && version !== 'ff' && trace !== ZERO_TRACE && span !== ZERO_SPAN && !(version === '00' && rest);
  const traceId = valid ? trace : randomBytes(16).toString('hex');
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-${valid ? flags : '01'}` };
}
