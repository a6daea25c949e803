import type { Outcome, Reason } from '../../crds/conditions.ts';
import { StoreError } from '../../crds/store.ts';

/** Something else has to happen first and will: visit again after a fixed delay. */
export class Waiting extends Error {
  readonly retryAfterMs: number;
  readonly reason: Reason;
  /** `message` goes into status: one deterministic sentence that names the blocker, never a secret. */
  constructor(retryAfterMs: number, reason: Reason, message: string) {
    super(message);
    this.name = 'Waiting';
    this.retryAfterMs = retryAfterMs;
    this.reason = reason;
  }
}

/** A user must act; the same spec would fail again, so nothing is visited until something changes. */
export class Terminal extends Error {
  readonly reason: Reason;
  constructor(reason: Reason, message: string) {
    super(message);
    this.name = 'Terminal';
    this.reason = reason;
  }
}

/** A named passing failure (an outside system is away). Any other error is one too, without a name. */
export class Transient extends Error {
  readonly reason: Reason;
  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Transient';
    this.reason = reason;
  }
}

/**
 * The type of an error says its treatment. The text of an unknown error stays in the log: it may
 * hold what must not stand in status, and text that varies would make every retry a status write.
 */
export function outcomeOf(error: unknown): Outcome {
  if (error instanceof Waiting)
    return { kind: 'Waiting', reason: error.reason, message: error.message, retryAfterMs: error.retryAfterMs };
  if (error instanceof Terminal) return { kind: 'Terminal', reason: error.reason, message: error.message };
  if (error instanceof Transient) return { kind: 'Transient', reason: error.reason, message: error.message };
  if (error instanceof StoreError && error.code === 'Conflict')
    return { kind: 'Transient', reason: 'WriteConflict', message: 'The object was written at the same time.' };
  return {
    kind: 'Transient',
    reason: 'ReconcileFailed',
    message: `An attempt failed${errorCode(error)}; the operator’s log has the details.`,
  };
}

/** A short stable identifier such as `ECONNREFUSED`, if the error has one. */
function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^\w{1,40}$/.test(code) ? ` with ${code}` : '';
}
