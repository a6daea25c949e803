import recorded from './examples.json' with { type: 'json' };

/** What the OpenAPI document shows of a route: one call and what a ledger answered to it. */
export interface RouteExample {
  params?: Record<string, string>;
  query?: Record<string, string | number>;
  key?: string;
  request?: unknown;
  /** By status. Of a CSV a text. */
  replies: Record<string, unknown>;
}

const EXAMPLES: Readonly<Record<string, RouteExample>> = recorded;

/**
 * The example of a route. They are one conversation with a new ledger, from the first call to the last;
 * `ledger/openapi-examples.test.ts` holds it again and compares every answer (`UPDATE_GOLDEN=1` records it anew).
 */
export function exampleOf(method: string, path: string): RouteExample {
  return EXAMPLES[`${method} ${path.replace(/:(\w+)/g, '{$1}')}`] ?? { replies: {} };
}
