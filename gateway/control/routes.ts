import { isDeepStrictEqual } from 'node:util';
import type { FastifyInstance } from 'fastify';
import type { Instance } from '../../crds/kinds.ts';
import type { Permission } from '../admission/entitlement.ts';
import type { FoundInstance } from '../admission/instances.ts';
import { pageByName } from '../cursor.ts';
import { type Edge, type InstancePath, NAME_SCHEMA, nameParams } from '../edge.ts';
import { problem } from '../errors.ts';
import { callerOf } from '../identity/authenticate.ts';
import type { Caller } from '../identity/caller.ts';
import { createInstance, type NewInstance } from './create.ts';
import { checkConfig, checkMutable, editInstance, refuseManagedByGit, storeCall } from './edit.ts';
import { instanceView, timelineView } from './view.ts';

/** Config is at most 64 KiB in the CRD. */
const BODY_LIMIT_BYTES = 128 * 1024;

const ALL = '/api/orgs/:org/instances';
const ONE = `${ALL}/:instance`;
const ONE_PATH = nameParams('org', 'instance');
const tags = ['instances'];
const reading = { access: 'keys' as const };
const writing = { access: 'caller' as const };

const LIST_QUERY = {
  type: 'object',
  additionalProperties: false,
  properties: {
    project: NAME_SCHEMA,
    cursor: { type: 'string', maxLength: 512 },
    limit: { type: 'integer', minimum: 1, maximum: 100, default: 50 },
  },
};

const CONFIG_SCHEMA = { type: 'object', description: 'Fits the config schema of the contract.' };

const CREATE_BODY = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'offering', 'plan'],
  properties: {
    name: NAME_SCHEMA,
    offering: NAME_SCHEMA,
    plan: NAME_SCHEMA,
    project: { ...NAME_SCHEMA, default: 'default' },
    wallet: { ...NAME_SCHEMA, default: 'main' },
    version: { type: 'string', pattern: '^\\d+\\.\\d+\\.\\d+([-+][\\w.-]+)?$', maxLength: 64 },
    config: CONFIG_SCHEMA,
  },
};

const PATCH_BODY = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  properties: {
    config: { ...CONFIG_SCHEMA, description: 'Keys to change; null removes one. Only mutable keys.' },
    suspend: { type: 'boolean' },
  },
};

interface ListQuery {
  project?: string;
  cursor?: string;
  limit: number;
}

interface PatchBody {
  config?: Record<string, unknown>;
  suspend?: boolean;
}

/** Buyer control of Instances. Every write ends as a spec in the store; the operator does the rest. */
export function addControlRoutes(app: FastifyInstance, edge: Edge): void {
  addReading(app, edge);
  addWriting(app, edge);
  addPausing(app, edge);
}

function addReading(app: FastifyInstance, edge: Edge): void {
  app.get<{ Params: { org: string }; Querystring: ListQuery }>(
    ALL,
    {
      config: reading,
      schema: { tags, summary: 'List Instances', params: nameParams('org'), querystring: LIST_QUERY },
    },
    async (request) => {
      const { cursor, limit, project } = request.query;
      const visible = listVisible(edge, callerOf(request), request.params.org, project);
      const page = pageByName(visible, (instance) => instance.metadata.name, { limit, ...(cursor ? { cursor } : {}) });
      return { items: page.items.map((instance) => instanceView(instance, edge.publicUrl())), next: page.next };
    },
  );
  app.get<{ Params: InstancePath }>(
    ONE,
    { config: reading, schema: { tags, summary: 'Read an Instance', params: ONE_PATH } },
    async (request) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'read');
      return instanceView(instance, edge.publicUrl());
    },
  );
  app.get<{ Params: InstancePath }>(
    `${ONE}/timeline`,
    { config: reading, schema: { tags, summary: 'When each phase was reached', params: ONE_PATH } },
    async (request) => timelineView((await permitted(edge, callerOf(request), request.params, 'read')).instance),
  );
}

function addWriting(app: FastifyInstance, edge: Edge): void {
  app.post<{ Params: { org: string }; Body: NewInstance }>(
    ALL,
    {
      config: writing,
      bodyLimit: BODY_LIMIT_BYTES,
      schema: { tags, summary: 'Create an Instance', params: nameParams('org'), body: CREATE_BODY },
    },
    async (request, reply) => {
      const { org } = request.params;
      const membership = edge.entitlements.member(callerOf(request), org, 'organization_not_found');
      membership.require('write', request.body.project);
      const instance = await createInstance(edge, org, request.body);
      void reply.status(201).header('location', `/api/orgs/${org}/instances/${instance.metadata.name}`);
      return instanceView(instance, edge.publicUrl());
    },
  );
  app.patch<{ Params: InstancePath; Body: PatchBody }>(
    ONE,
    {
      config: writing,
      bodyLimit: BODY_LIMIT_BYTES,
      schema: { tags, summary: 'Change config or pause', params: ONE_PATH, body: PATCH_BODY },
    },
    async (request) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'write');
      return instanceView(await patch(edge, instance, request.body), edge.publicUrl());
    },
  );
  app.delete<{ Params: InstancePath }>(
    ONE,
    { config: writing, schema: { tags, summary: 'Remove an Instance and what belongs to it', params: ONE_PATH } },
    async (request, reply) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'write');
      refuseManagedByGit(instance);
      const { name, namespace, uid } = instance.metadata;
      await storeCall(edge.store.delete('Instance', { name, ...(namespace ? { namespace } : {}) }, { uid }));
      return reply.status(202).send({ name, terminating: true });
    },
  );
}

function addPausing(app: FastifyInstance, edge: Edge): void {
  for (const [verb, suspend, summary] of [
    ['pause', true, 'Pause an Instance: runs are refused'],
    ['resume', false, 'Resume a paused Instance'],
  ] as const)
    app.post<{ Params: InstancePath }>(
      `${ONE}/${verb}`,
      { config: writing, schema: { tags, summary, params: ONE_PATH } },
      async (request) => {
        const { instance } = await permitted(edge, callerOf(request), request.params, 'operate');
        return instanceView(await patch(edge, instance, { suspend }), edge.publicUrl());
      },
    );
}

/** An Instance on which the caller may do this. @throws Problem `instance_not_found`, `forbidden`, `organization_suspended` */
export async function permitted(
  edge: Edge,
  caller: Caller,
  path: InstancePath,
  permission: Permission,
): Promise<FoundInstance> {
  const found = await edge.instances.find(caller, path.org, path.instance);
  found.membership.require(permission, found.instance.spec.projectRef.name);
  return found;
}

function listVisible(edge: Edge, caller: Caller, organization: string, project: string | undefined): Instance[] {
  const membership = edge.entitlements.member(caller, organization, 'organization_not_found');
  if (!membership.mayAnywhere('read')) throw problem('forbidden');
  return edge.instances.list(organization).filter((instance) => {
    const its = instance.spec.projectRef.name;
    const wanted = project === undefined || project === its;
    return wanted && membership.sees(its, instance.metadata.name) && membership.may('read', its);
  });
}

/** With a contract not yet bound, the one that the Instance would get decides what a config may hold. */
async function patch(edge: Edge, found: Instance, body: PatchBody): Promise<Instance> {
  const changes = body.config ?? {};
  const contract = body.config ? await boundContract(edge, found) : undefined;
  return editInstance(edge, found, (spec) => {
    const { suspend: _suspended, ...rest } = spec;
    const suspend = body.suspend ?? spec.suspend === true;
    const next = { ...rest, ...(suspend ? { suspend } : {}) };
    if (!contract) return next;
    // Until it was accepted once, nothing was built on the config: an order brings none, its buyer sets it.
    if (found.status?.timeline?.accepted !== undefined) {
      const changed = Object.keys(changes).filter((name) => !isDeepStrictEqual(changes[name], spec.config?.[name]));
      checkMutable(contract, changed);
    }
    const merged = Object.entries({ ...spec.config, ...changes }).filter(([, value]) => value !== null);
    const config = Object.fromEntries(merged);
    checkConfig(contract, config);
    return { ...next, config };
  });
}

/** The contract of an Instance, or the one it is about to get. @throws Problem `instance_not_ready` */
export async function boundContract(edge: Edge, instance: Instance) {
  const { offeringRef, version: pinned } = instance.spec;
  const channel = edge.store.watch('Offering').get({ name: offeringRef.name })?.spec.channel;
  const wanted = instance.status?.version ?? pinned ?? channel;
  const version = wanted === undefined ? undefined : await edge.contracts.version(offeringRef.name, wanted);
  const contract = version && edge.contracts.parse(version);
  if (contract) return contract;
  throw problem('instance_not_ready', {
    detail: 'this Instance has no contract yet',
    extra: { reason: 'ContractMissing' },
  });
}
