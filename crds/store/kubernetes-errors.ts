import { StoreError } from '../store.ts';
import type { FieldCause } from './metadata.ts';

/** The part of a Kubernetes `Status` that we read. */
interface Status {
  message?: string;
  reason?: string;
  code?: number;
  details?: {
    name?: string;
    kind?: string;
    retryAfterSeconds?: number;
    causes?: { reason?: string; field?: string; message?: string }[];
  };
}

/** Errors of a connection that was never there: the server cannot have done anything. */
const NEVER_REACHED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** What an API server answered, or why it did not. */
export class ApiError extends Error {
  /** HTTP status; 0 = there was no answer. */
  readonly status: number;
  readonly reason: string;
  /** Kind (plural) and name of what the answer is about. */
  readonly about: { kind?: string; name?: string };
  readonly causes: readonly { reason?: string; field?: string; message?: string }[];
  readonly retryAfterMs: number | undefined;

  constructor(
    status: number,
    reason: string,
    message: string,
    options: ErrorOptions & { details?: Status['details']; retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
    const { kind, name, causes } = options.details ?? {};
    this.about = { ...(kind === undefined ? {} : { kind }), ...(name === undefined ? {} : { name }) };
    this.causes = causes ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whatever a call threw. */
  static of(error: unknown): ApiError {
    if (error instanceof ApiError) return error;
    const { name, code, message } = error as { name?: string; code?: unknown; message?: string };
    if (name === 'TimeoutError') return new ApiError(0, 'Timeout', 'the API server did not answer in time');
    const reason = typeof code === 'string' ? code : 'Network';
    return new ApiError(0, reason, `the API server cannot be reached: ${message}`, { cause: error });
  }

  /** An answer of 400 or more; proxies in between answer with other texts than a Status. */
  static answer(status: number, text: string, headers: { 'retry-after'?: string | string[] | undefined }): ApiError {
    const body = parseStatus(text);
    const seconds = body.details?.retryAfterSeconds ?? Number(headers['retry-after'] ?? Number.NaN);
    return new ApiError(status, body.reason ?? String(status), body.message ?? `the API server answered ${status}`, {
      ...(body.details === undefined ? {} : { details: body.details }),
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined,
    });
  }

  /** The Status in an ERROR event of a watch. */
  static event(object: unknown): ApiError {
    const { code = 0, reason = 'Unknown', message = 'the watch failed', details } = object as Status;
    return new ApiError(code, reason, message, details === undefined ? {} : { details });
  }

  /** The server did nothing, for sure. */
  get refused(): boolean {
    return this.status === 429 || (this.status === 0 && NEVER_REACHED.has(this.reason));
  }

  /** It may work at the next attempt; whether it has worked already is not known. */
  get transient(): boolean {
    if (this.reason === 'Closed' || this.reason === 'Credentials') return false;
    if ([0, 429, 502, 503, 504].includes(this.status)) return true;
    return this.status === 500 && this.retryAfterMs !== undefined;
  }

  /** What we have seen is too old for the server: everything must be listed anew. */
  get expired(): boolean {
    return this.status === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }
}

function parseStatus(text: string): Status {
  try {
    const body = JSON.parse(text) as Status & { kind?: string };
    return body.kind === 'Status' ? body : {};
  } catch {
    return {};
  }
}

/** The port's error for an answer. `what` names the object, e.g. `Instance acme/claims`. */
export function storeError(error: ApiError, what: string): StoreError {
  const cause = { cause: error };
  switch (error.status) {
    case 403:
      return new StoreError('Forbidden', `${what}: ${error.message}`, [], cause);
    case 404:
      // Without details it is the kind that the server does not know.
      if (error.about.name !== undefined) return new StoreError('NotFound', `${what}: ${error.message}`, [], cause);
      return new StoreError('Unavailable', `${what}: the API server does not know this kind`, [], cause);
    case 409:
      if (error.reason === 'AlreadyExists')
        return new StoreError('AlreadyExists', `${what} exists already.`, [], cause);
      return new StoreError('Conflict', `${what} has changed meanwhile: read it again.`, [], cause);
    case 400:
    case 413:
    case 422:
      return invalid(error, what);
    default:
      if (isTypedPatchError(error)) return invalid(error, what);
      return new StoreError('Unavailable', `${what}: ${error.message}`, [], cause);
  }
}

function invalid(error: ApiError, what: string): StoreError {
  const causes = causesOf(error);
  const text = causes.map(({ field, message }) => `${field}: ${message}`).join('; ') || error.message;
  return new StoreError('Invalid', `${what} is invalid: ${text}`, causes, { cause: error });
}

function causesOf(error: ApiError): FieldCause[] {
  const stated = error.causes.map(({ field, message = '' }) => ({
    // A rule about the whole object has no field: then it is its name that we blame.
    field: field === undefined || field === '' || field === '<nil>' ? 'metadata.name' : field,
    message: ruleText(message),
  }));
  return stated.length > 0 ? stated : [...typedPatchCauses(error.message), ...strictCauses(error.message)];
}

/** The API server says the kind of error and often the value, too, before what the rule says; the rule is what we state. */
function ruleText(message: string): string {
  return message.replace(/^(?:Invalid value|Forbidden): (?:(?:"(?:[^"\\]|\\.)*"|-?\d+|true|false|null): )?/, '');
}

function isTypedPatchError(error: ApiError): boolean {
  return /^failed to create typed (patch|live) object/.test(error.message);
}

/** Server-side apply answers what does not fit the types in a sentence: `…: .spec.plan: field not declared in schema`. */
function typedPatchCauses(message: string): FieldCause[] {
  if (!message.startsWith('failed to create typed')) return [];
  return [...message.matchAll(/(?:^|[\s:])\.([\w.[\]"=-]+): ([^\n]+)/g)].map(([, field = '', said = '']) => ({
    field,
    message: said,
  }));
}

/** `strict decoding error: unknown field "spec.plan"`. */
function strictCauses(message: string): FieldCause[] {
  return [...message.matchAll(/unknown field "([^"]+)"/g)].map(([, field = '']) => ({
    field,
    message: 'is not known',
  }));
}
