/** One violated rule: where (RFC 6901 JSON pointer into the body), which rule, and a sentence. */
export interface Violation {
  pointer: string;
  rule: string;
  message: string;
}

export interface ProblemOptions {
  status: number;
  /** Stable machine-readable code, snake_case. Clients branch on it; tests assert it. */
  code: string;
  /** One sentence for a person that says what is wrong and, where possible, what to do next. */
  detail: string;
  errors?: Violation[];
  /** Extra members of the problem document, e.g. `available` and `required` of a 402. */
  extra?: Record<string, unknown>;
  headers?: Record<string, string>;
  cause?: unknown;
}

/** An error at an HTTP boundary, answered as RFC 9457 `application/problem+json`. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: Violation[] | undefined;
  readonly extra: Record<string, unknown>;
  readonly headers: Record<string, string>;

  constructor(options: ProblemOptions) {
    super(options.detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Problem';
    this.status = options.status;
    this.code = options.code;
    this.errors = options.errors;
    this.extra = options.extra ?? {};
    this.headers = options.headers ?? {};
  }

  /** The document that goes over the wire. `type` is a stable URN so that it never dangles. */
  toDocument(requestId: string): Record<string, unknown> {
    return {
      type: `urn:gsv:problem:${this.code}`,
      title: this.code.replaceAll('_', ' '),
      status: this.status,
      detail: this.message,
      code: this.code,
      ...(this.errors ? { errors: this.errors } : {}),
      ...this.extra,
      request_id: requestId,
    };
  }
}
