import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PLATFORM_MAXIMA } from '../../crds/contract.ts';
import { type Hold, LedgerError } from '../../ledger/client.ts';
import { ledgerTrouble, walletName } from '../admission/credits.ts';
import { checkInputSize } from '../admission/limits.ts';
import { type Edge, type InstancePath, nameParams } from '../edge.ts';
import { problem } from '../errors.ts';
import { callerOf } from '../identity/authenticate.ts';
import type { RunTicket } from '../ticket.ts';
import { type Admitted, admitRun, readTicket, runContext, runTicket } from './admit.ts';
import { attach } from './attach.ts';
import { type Claim, claimRun } from './claim.ts';
import { type Departure, lossProblem, runToJson, watchDeparture } from './execution.ts';
import { runnerProblem } from './outcome.ts';
import { idempotencyKey, textSha256 } from './run-id.ts';
import { RunnerLost, readText } from './runner-client.ts';
import { relayAttached, runToStream } from './stream.ts';
import { continueTrace, type Trace } from './trace.ts';

interface RunBody {
  input: string;
  session?: string;
  maxMicrocredits?: number;
}

/** JSON may write a character in six; beyond twice the largest input it is padding. */
const BODY_LIMIT_BYTES = PLATFORM_MAXIMA.inputBytes * 2;

const RUN_BODY = {
  type: 'object',
  additionalProperties: false,
  required: ['input'],
  properties: {
    input: { type: 'string', minLength: 1, description: 'What the Instance is asked.' },
    session: {
      type: 'string',
      pattern: '^[\\x21-\\x7e]{1,128}$',
      description: 'Runs with the same session share the memory of the flow, per Instance.',
    },
    maxMicrocredits: {
      type: 'integer',
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Refuse the run when it reserves more than this.',
    },
  },
};

const RUN_PATH = nameParams('org', 'instance');
const ONE_RUN_PATH = {
  ...RUN_PATH,
  properties: { ...(RUN_PATH.properties as object), runId: { type: 'string', pattern: '^[\\w-]{1,64}$' } },
  required: ['org', 'instance', 'runId'],
};
const BASE = '/v1/instances/:org/:instance/runs';
const config = { access: 'keys' as const };
const tags = ['runs'];

declare module 'fastify' {
  interface FastifyRequest {
    /** Gives the request's place among the running ones back. */
    leave: (() => void) | undefined;
  }
}

/** Runs: start, read back, cancel. */
export function addRunRoutes(app: FastifyInstance, edge: Edge): void {
  app.decorateRequest('leave', undefined);
  app.post<{ Params: InstancePath; Body: RunBody }>(
    BASE,
    {
      config,
      bodyLimit: BODY_LIMIT_BYTES,
      schema: { tags, summary: 'Run an Instance', params: RUN_PATH, body: RUN_BODY },
      // Before the body is read, so that a refused request costs next to nothing.
      onRequest: async (request, reply) => {
        request.leave = edge.overload.enter();
        reply.raw.once('close', () => leaveUnlessRunning(request));
      },
    },
    (request, reply) => startRun(edge, request, reply),
  );
  app.get<{ Params: InstancePath & { runId: string } }>(
    `${BASE}/:runId`,
    { config, schema: { tags, summary: 'Read a run back; waits while it runs', params: ONE_RUN_PATH } },
    (request, reply) => readRun(edge, request, reply),
  );
  app.delete<{ Params: InstancePath & { runId: string } }>(
    `${BASE}/:runId`,
    { config, schema: { tags, summary: 'Cancel a run', params: ONE_RUN_PATH } },
    (request, reply) => cancelRun(edge, request, reply),
  );
}

const executing = new WeakSet<FastifyRequest>();

function leaveUnlessRunning(request: FastifyRequest): void {
  if (!executing.has(request)) request.leave?.();
}

async function startRun(
  edge: Edge,
  request: FastifyRequest<{ Params: InstancePath; Body: RunBody }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  // A run that drains outlives its client and must keep its place until it has ended.
  executing.add(request);
  const stop = edge.metrics.runSeconds.startTimer();
  try {
    await run(edge, request, reply);
    stop({ outcome: 'answered' });
    return reply;
  } catch (error) {
    stop({ outcome: 'refused' });
    throw error;
  } finally {
    request.leave?.();
  }
}

async function run(
  edge: Edge,
  request: FastifyRequest<{ Params: InstancePath; Body: RunBody }>,
  reply: FastifyReply,
): Promise<void> {
  const caller = callerOf(request);
  const { input, session, maxMicrocredits } = request.body;
  const key = idempotencyKey(request.headers['idempotency-key']);
  const admitted = await admitRun(edge, caller, request.params);
  checkInputSize(input, admitted.limits.inputBytes);
  const trace = continueTrace(request.headers.traceparent);
  const claim = await claimRun({
    ledger: edge.ledger,
    caller,
    key,
    reservation: { ...admitted, maxMicrocredits },
    context: {
      ...runContext(admitted, caller, trace),
      inputSha256: textSha256(input),
      ...(session === undefined ? {} : { sessionSha256: textSha256(session) }),
    },
  });
  const body = { input, ...(session === undefined ? {} : { session }) };
  if (claim.kind === 'attach') return attachTo(edge, admitted, claim, trace, request, reply);
  const wallet = walletName(admitted.organization, admitted.instance);
  const ticket = { ...runTicket(admitted, claim, wallet, trace), hold: claim.hold };
  const execution = { edge, ticket, body };
  if (wantsStream(request)) return runToStream(execution, request, reply);
  sendResult(reply, claim.runId, await runToJson(execution, reply));
}

async function attachTo(
  edge: Edge,
  admitted: Admitted,
  claim: Claim,
  trace: Trace,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const ticket = readTicket(admitted.organization, admitted.instance, claim.runId, trace);
  const departure = watchDeparture(reply, 'Abort');
  void reply.header('idempotency-replayed', 'true');
  try {
    await sendAttached(edge, ticket, departure, request, reply);
  } finally {
    departure.stop();
  }
}

async function sendAttached(
  edge: Edge,
  ticket: RunTicket,
  departure: Departure,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const accept = wantsStream(request) ? 'text/event-stream' : 'application/json';
  const attached = await attach(edge, ticket, accept, departure.signal);
  if (wantsStream(request)) return relayAttached(attached.body, ticket.runId, request, reply);
  const text = await readText(attached.body).catch((error: unknown) => {
    throw error instanceof RunnerLost ? lossProblem(error) : error;
  });
  sendResult(reply, ticket.runId, text);
}

type OneRun = FastifyRequest<{ Params: InstancePath & { runId: string } }>;

async function readRun(edge: Edge, request: OneRun, reply: FastifyReply): Promise<FastifyReply> {
  const ticket = await ticketForRun(edge, request, 'read');
  const departure = watchDeparture(reply, 'Abort');
  try {
    await sendAttached(edge, ticket, departure, request, reply);
    return reply;
  } finally {
    departure.stop();
  }
}

async function cancelRun(edge: Edge, request: OneRun, reply: FastifyReply): Promise<FastifyReply> {
  const ticket = await ticketForRun(edge, request, 'run');
  const answer = await edge.runner.cancel(ticket).catch((error: unknown) => {
    throw error instanceof RunnerLost ? lossProblem(error) : error;
  });
  if (answer.status === 404) throw problem('run_not_found');
  if (answer.status >= 300) throw runnerProblem(answer.status, answer.text);
  return reply.status(202).send({ runId: ticket.runId, state: 'cancelling' });
}

/** Who may see the Instance may know its runs; a run of another Instance answers like none. */
async function ticketForRun(edge: Edge, request: OneRun, permission: 'read' | 'run') {
  const { org, instance: name, runId } = request.params;
  const { instance, membership } = await edge.instances.find(callerOf(request), org, name);
  membership.require(permission, instance.spec.projectRef.name);
  const hold = await findRun(edge, runId);
  if (hold?.instanceUid !== instance.metadata.uid) throw problem('run_not_found');
  return readTicket(org, instance, runId, continueTrace(request.headers.traceparent));
}

async function findRun(edge: Edge, runId: string): Promise<Hold | undefined> {
  try {
    return await edge.ledger.run(runId);
  } catch (error) {
    if (error instanceof LedgerError && error.status === 404) return undefined;
    throw ledgerTrouble(error);
  }
}

function wantsStream(request: FastifyRequest): boolean {
  return request.headers.accept?.includes('text/event-stream') === true;
}

function sendResult(reply: FastifyReply, runId: string, text: string): void {
  void reply.header('gsv-run-id', runId).header('content-type', 'application/json; charset=utf-8').send(text);
}
