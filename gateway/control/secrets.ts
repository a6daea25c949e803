import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { Problem } from '../../config/problem.ts';
import type { ContractSecret } from '../../crds/contract.ts';
import type { Instance } from '../../crds/kinds.ts';
import { type Edge, type InstancePath, nameParams } from '../edge.ts';
import { problem } from '../errors.ts';
import { callerOf } from '../identity/authenticate.ts';
import { readTicket } from '../runs/admit.ts';
import { lossProblem } from '../runs/execution.ts';
import { runnerProblem } from '../runs/outcome.ts';
import { RunnerLost, type RunnerText } from '../runs/runner-client.ts';
import { continueTrace, type Trace } from '../runs/trace.ts';
import { editInstance } from './edit.ts';
import { requested } from './requests.ts';
import { boundContract, permitted } from './routes.ts';

const SECRET_SET_ANNOTATION = 'store.gsv.dev/secret-set-at';

/** A secret is a key or a certificate, not a file; the runner takes no more. */
const MAX_VALUE_CHARACTERS = 16_384;
const BODY_LIMIT_BYTES = 128 * 1024;

const ALL = '/api/orgs/:org/instances/:instance/secrets';
const tags = ['secrets'];
const config = { access: 'caller' as const };

const SECRET_BODY = {
  type: 'object',
  additionalProperties: false,
  required: ['value'],
  properties: {
    value: { type: 'string', minLength: 1, maxLength: MAX_VALUE_CHARACTERS },
    version: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Write only when this is the present version; 0 = only when it is not set yet.',
    },
  },
};

interface SecretBody {
  value: string;
  version?: number;
}

/** Buyer secrets: written through, never read back, never kept here. */
export function addSecretRoutes(app: FastifyInstance, edge: Edge): void {
  app.get<{ Params: InstancePath }>(
    ALL,
    { config, schema: { tags, summary: 'Names and versions of secrets', params: nameParams('org', 'instance') } },
    async (request) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'read');
      const secrets = await declaredSecrets(edge, instance);
      return { items: secrets.map((secret) => secretView(secret, instance)), next: null };
    },
  );
  app.put<{ Params: InstancePath & { secret: string }; Body: SecretBody }>(
    `${ALL}/:secret`,
    {
      config,
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        tags,
        summary: 'Set a buyer secret',
        params: nameParams('org', 'instance', 'secret'),
        body: SECRET_BODY,
      },
    },
    async (request) => {
      const { instance } = await permitted(edge, callerOf(request), request.params, 'operate');
      const secrets = await declaredSecrets(edge, instance);
      const declared = secrets.find(({ name, source }) => name === request.params.secret && source === 'Buyer');
      if (!declared) throw problem('secret_not_found');
      const trace = continueTrace(request.headers.traceparent);
      const written = await writeSecret(edge, request.params, instance, request.body, trace);
      await tellOperator(edge, instance);
      return written;
    },
  );
}

/** Those of the contract that holds, and those that the version asks for which the Instance is to take next. */
async function declaredSecrets(edge: Edge, instance: Instance): Promise<ContractSecret[]> {
  const { secrets, version: bound } = await boundContract(edge, instance);
  const { offeringRef, version: pinned } = instance.spec;
  const wanted = pinned ?? edge.store.watch('Offering').get({ name: offeringRef.name })?.spec.channel;
  if (wanted === undefined || wanted === bound) return secrets;
  const next = await edge.contracts.version(offeringRef.name, wanted);
  const more = (next && edge.contracts.parse(next)?.secrets) ?? [];
  return [...secrets, ...more.filter(({ name }) => !secrets.some((secret) => secret.name === name))];
}

/** Wakes the operator. Where that fails, or Git keeps the Instance, it notices at its next visit. */
async function tellOperator(edge: Edge, instance: Instance): Promise<void> {
  try {
    await editInstance(edge, instance, (spec) => spec, requested(edge, SECRET_SET_ANNOTATION));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    edge.log.debug({ instance: instance.metadata.name, code: error.code }, 'the operator was not told of a secret');
  }
}

async function writeSecret(
  edge: Edge,
  path: InstancePath & { secret: string },
  instance: Instance,
  body: SecretBody,
  trace: Trace,
): Promise<Record<string, unknown>> {
  const ticket = {
    ...readTicket(path.org, instance, randomUUID(), trace),
    purpose: 'secret-write' as const,
    secret: path.secret,
  };
  const answer = await send(edge, ticket, body);
  if (answer.status !== 200) throw secretProblem(answer);
  const { name, version, updatedTime } = JSON.parse(answer.text) as Record<string, unknown>;
  return { name, version, updatedTime };
}

async function send(edge: Edge, ticket: Parameters<Edge['runner']['writeSecret']>[0], body: SecretBody) {
  try {
    return await edge.runner.writeSecret(ticket, body);
  } catch (error) {
    if (!(error instanceof RunnerLost)) throw error;
    const { status, code } = lossProblem(error);
    throw new Problem({
      status,
      code,
      detail: 'the secret could not be stored; try again',
      headers: { 'retry-after': '2' },
      cause: error,
    });
  }
}

function secretProblem(answer: RunnerText): Problem {
  return answer.status === 404 ? problem('secret_not_found') : runnerProblem(answer.status, answer.text);
}

function secretView({ name, source, description }: ContractSecret, instance: Instance): Record<string, unknown> {
  const version = instance.status?.secretVersions?.find((each) => each.name === name)?.version;
  return { name, source, ...(description === undefined ? {} : { description }), version: version ?? null };
}
