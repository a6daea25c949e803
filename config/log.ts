import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/**
 * Keys whose values never reach a log line, at the top level and one level down. Log calls pass
 * structured fields, so a key list is enough for what we write ourselves; free text that comes from
 * outside (errors of libraries) goes through {@link scrubText}.
 */
const SECRET_KEYS = [
  'authorization',
  'cookie',
  'password',
  'secret',
  'secrets',
  'token',
  'ticket',
  'apiKey',
  'key_value',
  'globals',
  'value',
  'rawBase64',
];

const TEXT_PATTERNS: readonly [RegExp, string][] = [
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, '$1 [redacted]'],
  [/\beyJ[\w-]{8,}\.[\w-]*\.[\w-]+/g, '[redacted jwt]'],
  [/(\w+:\/\/[^\s/:@]*):[^\s@/]+@/g, '$1:[redacted]@'],
];

/** Removes bearer tokens, JWTs and URL passwords from a text that somebody else composed. */
export function scrubText(text: string): string {
  return TEXT_PATTERNS.reduce((out, [pattern, replacement]) => out.replace(pattern, replacement), text);
}

export interface LogOptions {
  /** Name of the process or part, e.g. `ledger`, `operator`. Appears as `part` in every line. */
  part: string;
  level?: string;
  /** Where lines go; absent: standard error, so that standard output stays free for results. */
  destination?: DestinationStream;
}

/** A JSON-lines logger that redacts secrets. One per process; parts take `log.child({...})`. */
export function createLogger(options: LogOptions): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      base: { part: options.part },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: '[redacted]' },
      serializers: { err: serializeError },
    },
    options.destination ?? pino.destination({ dest: 2, sync: false }),
  );
}

function serializeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: scrubText(String(error)) };
  const code = (error as { code?: unknown }).code;
  return {
    type: error.name,
    message: scrubText(error.message),
    ...(code === undefined ? {} : { code }),
    ...(error.stack ? { stack: scrubText(error.stack) } : {}),
    ...(error.cause instanceof Error ? { cause: serializeError(error.cause) } : {}),
  };
}
