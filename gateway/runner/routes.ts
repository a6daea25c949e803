import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../config/log.ts';
import type { SecretsBroker } from '../../config/secrets.ts';
import type { Secret } from '../../config/settings.ts';
import type { RunTicket, TicketBooth } from '../ticket.ts';
import { admit, admitProbe } from './access.ts';
import type { Bindings } from './binding.ts';
import { type BuyerSecretWrite, writeBuyerSecret } from './buyer-secret.ts';
import { probe } from './probe.ts';
import { runnerProblem } from './problems.ts';
import type { Run } from './run.ts';
import type { RunBook } from './runs.ts';
import type { Runtimes } from './runtimes.ts';
import { SCRUB_MIN_LENGTH } from './scrub.ts';
import { streamable, streamRun } from './stream.ts';

/** A caller's name for a conversation. */
const SESSION_MAX_CHARS = 256;
/** lfx takes 64 KB per global; what a provider hands out as credential is far below. */
const SECRET_MAX_CHARS = 16_384;

const RUN_BODY = {
  type: 'object',
  additionalProperties: false,
  required: ['input'],
  properties: {
    input: { type: 'string' },
    session: { type: 'string', minLength: 1, maxLength: SESSION_MAX_CHARS },
  },
};

const SECRET_BODY = {
  type: 'object',
  additionalProperties: false,
  required: ['value'],
  properties: {
    // A shorter one could not be kept out of answers (`scrub.ts`).
    value: { type: 'string', minLength: SCRUB_MIN_LENGTH, maxLength: SECRET_MAX_CHARS },
    version: { type: 'integer', minimum: 0 },
  },
};

interface RunPath {
  Params: { runId: string };
}

/** `POST /internal/runs`, `GET` and `DELETE /internal/runs/{runId}`. */
export function addRunRoutes(app: FastifyInstance, { booth, runs }: { booth: TicketBooth; runs: RunBook }): void {
  app.post<{ Body: { input: string; session?: string } }>(
    '/internal/runs',
    { schema: { summary: 'Run, charge and answer', body: RUN_BODY } },
    async (request, reply) => {
      const { ticket, token } = await admit(request, booth, 'run');
      const { hold } = ticket;
      if (hold === undefined) throw runnerProblem('ticket_invalid', 'the ticket names no hold');
      const { input, session } = request.body;
      const run = runs.start({ ticket: { ...ticket, hold }, token, input, session }, ticket.onDisconnect === 'Abort');
      return answer(run, request, reply);
    },
  );
  app.get<RunPath>(
    '/internal/runs/:runId',
    { schema: { summary: 'The reply of a run; waits while it runs' } },
    async (request, reply) => {
      const run = await runs.find(await readTicket(request, booth));
      if (!run) throw runnerProblem('run_not_found', 'this Instance has no such run');
      return answer(run, request, reply);
    },
  );
  app.delete<RunPath>('/internal/runs/:runId', { schema: { summary: 'Cancel a run' } }, async (request, reply) => {
    const ticket = await readTicket(request, booth);
    const run = await runs.find(ticket);
    if (!run) throw runnerProblem('run_not_found', 'this Instance has no such run');
    run.abort(runnerProblem('run_cancelled', 'the run was cancelled'));
    return reply.status(202).send({ runId: ticket.runId });
  });
}

async function readTicket(request: FastifyRequest<RunPath>, booth: TicketBooth): Promise<RunTicket> {
  const { ticket } = await admit(request, booth, 'read');
  if (ticket.runId !== request.params.runId) throw runnerProblem('ticket_mismatch', 'the ticket is for another run');
  return ticket;
}

/** As JSON once the run has ended, or as a stream at once. */
async function answer(run: Run, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const detach = run.attach();
  reply.raw.once('close', detach);
  if (request.headers.accept?.includes('text/event-stream')) {
    await streamable(run);
    await streamRun(run, request, reply);
    return reply;
  }
  const outcome = await run.outcome;
  if (!outcome.ok) throw outcome.problem;
  return reply.send(outcome.reply);
}

interface SecretPath {
  Params: { organization: string; instance: string; secret: string };
}

/** `PUT /internal/secrets/{org}/{instance}/{secret}`. */
export function addSecretRoute(
  app: FastifyInstance,
  parts: { booth: TicketBooth; bindings: Bindings; secrets: SecretsBroker },
): void {
  app.put<SecretPath & { Body: BuyerSecretWrite }>(
    '/internal/secrets/:organization/:instance/:secret',
    { schema: { summary: 'Set one buyer secret', body: SECRET_BODY } },
    async (request) => {
      const { ticket } = await admit(request, parts.booth, 'secret-write');
      const { organization, instance, secret } = request.params;
      const same = ticket.instance.organization === organization && ticket.instance.name === instance;
      if (!same || ticket.secret !== secret)
        throw runnerProblem('ticket_mismatch', 'the ticket is for another Instance or secret');
      return writeBuyerSecret(parts, { ...ticket, secret }, request.body);
    },
  );
}

interface ProbePath {
  Params: { organization: string; instance: string };
}

/** `POST /internal/probe/{org}/{instance}`. */
export function addProbeRoute(
  app: FastifyInstance,
  parts: {
    probeKey: Secret;
    bindings: Bindings;
    runtimes: Runtimes;
    secrets: SecretsBroker;
    log: Logger;
  },
): void {
  app.post<ProbePath>(
    '/internal/probe/:organization/:instance',
    { schema: { summary: 'Whether an Instance could run now' } },
    async (request) => {
      admitProbe(request, parts.probeKey.reveal());
      return probe(parts, request.params.organization, request.params.instance, parts.log);
    },
  );
}
