import type { FastifyInstance } from 'fastify';
import type { Logger } from '../config/log.ts';
import type { ResourceStore } from '../crds/store.ts';
import type { LedgerClient } from '../ledger/client.ts';
import type { Contracts } from './admission/contracts.ts';
import type { Entitlements } from './admission/entitlement.ts';
import type { Instances } from './admission/instances.ts';
import type { RateLimits } from './admission/limits.ts';
import type { Overload } from './admission/overload.ts';
import type { EdgeMetrics } from './metrics.ts';
import type { RunnerClient } from './runs/runner-client.ts';

/** What the routes of the edge work with; built once in `app.ts`. */
export interface Edge {
  store: ResourceStore;
  ledger: LedgerClient;
  runner: RunnerClient;
  entitlements: Entitlements;
  instances: Instances;
  contracts: Contracts;
  rates: RateLimits;
  overload: Overload;
  metrics: EdgeMetrics;
  /** Base of public links, without a slash at the end. Known once the server listens. */
  publicUrl: () => string;
  /** Milliseconds since the epoch. */
  clock: () => number;
  log: Logger;
}

export type EdgeRole = 'all' | 'run' | 'api';

/** Further routes, e.g. commerce. They are subject to the same rules: each declares its `access`. */
export interface EdgePlugin {
  name: string;
  /** Which processes serve it; `all` always does. */
  roles: readonly Exclude<EdgeRole, 'all'>[];
  register(app: FastifyInstance, edge: Edge): void | Promise<void>;
  /** Called at shutdown, after the last request. */
  close?(): Promise<void>;
}

/** Kubernetes names (RFC 1123 labels): organizations, Instances, Projects, Wallets, Offerings. */
export const NAME_SCHEMA = {
  type: 'string',
  minLength: 1,
  maxLength: 63,
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
} as const;

/** Schema of a path with these names in it. */
export function nameParams(...names: string[]): Record<string, unknown> {
  return {
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, NAME_SCHEMA])),
    required: names,
  };
}

export interface InstancePath {
  org: string;
  instance: string;
}
