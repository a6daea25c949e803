import type { BatchLine, BatchRow } from './batch.ts';
import type { CaptureBody, DebitBody, HoldBody, Line } from './wire.ts';

/** As `grant_1`, `hold_1`: what `local_id` of the database accepts. */
const HOLD_ID = /^hold_([1-9]\d{0,17})$/;
const MAX_TTL_SECONDS = 86_400;

/**
 * The row of an operation that a batch can carry. Undefined for every other operation and for whatever is not
 * plainly right: its own function knows what to say about it.
 */
export function batchRow(
  operation: string,
  target: string,
  body: object,
  call: { key: string; hash: string },
): BatchRow | undefined {
  if (call.key === '') return undefined;
  switch (operation) {
    case 'debit':
      return debitRow(body as DebitBody, call);
    case 'create_hold':
      return holdRow(body as HoldBody, call);
    case 'capture_hold':
      return captureRow(target, body as CaptureBody, call);
    case 'void_hold':
      return voidRow(target, body as { reason?: string }, call);
    default:
      return undefined;
  }
}

type KeyAndHash = Pick<BatchRow, 'key' | 'hash'>;

function debitRow(body: DebitBody, call: KeyAndHash): BatchRow | undefined {
  const { wallet, lines, offering, project, context } = body;
  const amount = linesTotal(lines);
  return amount === undefined
    ? undefined
    : { operation: 'debit', ...call, wallet, amount, lines: lines.map(compactLine), offering, project, context };
}

function holdRow(body: HoldBody, call: KeyAndHash): BatchRow | undefined {
  const { amount, ttlSeconds } = body;
  if (!Number.isSafeInteger(amount) || amount < 1) return undefined;
  if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_TTL_SECONDS) return undefined;
  return {
    operation: 'hold',
    ...call,
    wallet: body.wallet,
    amount,
    ttl_seconds: ttlSeconds,
    offering: body.offering,
    project: body.project,
    instance_uid: body.instanceUid,
    max_concurrent: body.maxConcurrent,
    context: body.context,
  };
}

/** One that is not final leaves the hold open, which a batch does not do. */
function captureRow(target: string, body: CaptureBody, call: KeyAndHash): BatchRow | undefined {
  const hold = HOLD_ID.exec(target)?.[1];
  const amount = linesTotal(body.lines);
  if (hold === undefined || amount === undefined || body.final === false) return undefined;
  return {
    operation: 'capture',
    ...call,
    hold,
    amount,
    lines: body.lines.map(compactLine),
    result_ref: body.resultRef,
  };
}

function voidRow(target: string, body: { reason?: string }, call: KeyAndHash): BatchRow | undefined {
  const hold = HOLD_ID.exec(target)?.[1];
  return hold === undefined ? undefined : { operation: 'void', ...call, hold, reason: body.reason };
}

/** Undefined when a line is not what it must be or the sum is more than JSON carries exactly. */
function linesTotal(lines: readonly Line[]): number | undefined {
  let total = 0;
  for (const { amount, units } of lines) {
    if (!Number.isSafeInteger(amount) || amount < 0 || !Number.isSafeInteger(units) || units < 0) return undefined;
    total += amount;
  }
  return Number.isSafeInteger(total) ? total : undefined;
}

/** As `compact_lines` of the database stores it; a line with more than these fields keeps their names. */
function compactLine(line: Line): BatchLine {
  const { dimension, units, amount } = line;
  return dimension !== undefined && Object.keys(line).length === 3 ? [dimension, units, amount] : line;
}
