import type { FastifyInstance } from 'fastify';
import type { Instance } from '../../crds/kinds.ts';
import { type Edge, type InstancePath, nameParams } from '../edge.ts';
import { problem } from '../errors.ts';
import { callerOf } from '../identity/authenticate.ts';
import { editInstance } from './edit.ts';
import { permitted } from './routes.ts';
import { instanceView } from './view.ts';

/** "Do it now" for the operator: an RFC 3339 time; its echo in status says that it was acted on. */
const ROTATE_ANNOTATION = 'store.gsv.dev/rotate-requested-at';
const UPGRADE_ANNOTATION = 'store.gsv.dev/upgrade-requested-at';

const ONE = '/api/orgs/:org/instances/:instance';
const ONE_PATH = nameParams('org', 'instance');
const tags = ['instances'];
const config = { access: 'caller' as const };

const UPGRADE_BODY = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  properties: {
    version: {
      type: 'string',
      pattern: '^\\d+\\.\\d+\\.\\d+(-[\\w.-]+)?$',
      maxLength: 63,
      description: 'Pins the Instance to this version.',
    },
    channel: {
      type: 'string',
      enum: ['Stable'],
      description: 'Removes the pin and takes the version that the Offering names.',
    },
  },
};

interface UpgradeBody {
  version?: string;
  channel?: 'Stable';
}

/** Rotation and upgrade: requests that the operator carries out. Both are answered with 202. */
export function addRequestRoutes(app: FastifyInstance, edge: Edge): void {
  app.post<{ Params: InstancePath }>(
    `${ONE}/rotate`,
    { config, schema: { tags, summary: 'Rotate the generated secrets', params: ONE_PATH } },
    async (request, reply) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'operate');
      const edited = await editInstance(edge, instance, (spec) => spec, requested(edge, ROTATE_ANNOTATION));
      return reply.status(202).send(instanceView(edited, edge.publicUrl()));
    },
  );
  app.post<{ Params: InstancePath; Body: UpgradeBody }>(
    `${ONE}/upgrade`,
    { config, schema: { tags, summary: 'Take another version', params: ONE_PATH, body: UPGRADE_BODY } },
    async (request, reply) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'write');
      const edited = await upgrade(edge, instance, request.body);
      return reply.status(202).send(instanceView(edited, edge.publicUrl()));
    },
  );
}

/** @throws Problem `reference_invalid` for a version that the Offering does not have */
async function upgrade(edge: Edge, instance: Instance, { version }: UpgradeBody): Promise<Instance> {
  const asked = requested(edge, UPGRADE_ANNOTATION);
  if (version === undefined)
    return editInstance(edge, instance, ({ version: _pin, ...spec }) => ({ ...spec, channel: 'Stable' }), asked);
  if ((await edge.contracts.version(instance.spec.offeringRef.name, version)) === undefined)
    throw problem('reference_invalid', {
      errors: [{ pointer: '/version', rule: 'unknown', message: 'this Offering has no such version' }],
    });
  // A pin and the wish to follow exclude each other.
  return editInstance(
    edge,
    instance,
    ({ channel: _channel, upgradePolicy: _policy, ...spec }) => ({ ...spec, version }),
    asked,
  );
}

/** The annotation that asks for something now. */
export function requested(edge: Edge, annotation: string): Record<string, string> {
  return { [annotation]: new Date(edge.clock()).toISOString() };
}
