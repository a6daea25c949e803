import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods, RouteShorthandOptions } from 'fastify';
import type { Logger } from '../../config/log.ts';
import { Problem } from '../../config/problem.ts';
import { toLedgerProblem } from '../errors.ts';
import type { OperationResult } from '../operations.ts';
import { authorize, type Scope, type Tokens } from '../tokens.ts';
import { assertPlainText } from './content.ts';
import { exampleOf, type RouteExample } from './examples.ts';
import { integer, object, problem, type Schema, text } from './fields.ts';

/** As long as an index entry of PostgreSQL comfortably holds; callers derive keys from short business facts. */
export const MAX_KEY_CHARACTERS = 255;

/** Items of one page. */
const MAX_PAGE = 100;
const DEFAULT_PAGE = 50;

/** Name of the security scheme in the OpenAPI document. */
export const SECURITY_SCHEME = 'serviceToken';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route must say one. */
    scope?: EndpointScope;
  }
}

/** Query of every list. */
export const pageQuery = {
  cursor: text(256),
  limit: { ...integer(1, MAX_PAGE), default: DEFAULT_PAGE },
};

/** The scope that a token needs; `public` = no token; `each` = any token, the handler checks what it carries. */
export type EndpointScope = Scope | 'public' | 'each';

export interface Endpoint {
  method: 'GET' | 'PUT' | 'POST';
  path: string;
  scope: EndpointScope;
  summary: string;
  /** Whether the call must carry an `Idempotency-Key`. */
  keyed?: boolean;
  params?: Record<string, Schema>;
  query?: Record<string, Schema>;
  /** Names of `query` that must be there. */
  requiredQuery?: string[];
  body?: Schema;
  /** Media type of the replies below 400 where it is not JSON; their bodies are then texts. */
  produces?: 'text/csv';
  /** Replies below 400 by status; errors are always problem documents. */
  replies: Record<number, Schema>;
  bodyLimitBytes?: number;
  handle: (call: EndpointCall) => Promise<EndpointReply>;
}

export interface EndpointCall {
  /** Percent-decoded path parts. */
  params: Record<string, string>;
  /** Validated and coerced query; what it holds is what the endpoint's `query` declares. */
  query: Record<string, string | number | boolean | undefined>;
  /** Validated body; the caller casts it to the type that its schema describes. */
  body: unknown;
  /** The `Idempotency-Key`, or an empty string where none is taken. */
  key: string;
  /** The `Gsv-Fencing-Epoch`, absent when not sent. */
  epoch: { epoch?: number };
  /** The scopes of the caller's token. */
  scopes: ReadonlySet<Scope>;
  /** Aborts when the client has gone. */
  gone: AbortSignal;
  log: Logger;
}

export interface EndpointReply {
  status: number;
  body: Record<string, unknown> | string;
  replayed?: boolean;
}

/** Registers one endpoint: token and scope first, then key, content, schema, and only then the handler. */
export function endpoint(app: FastifyInstance, tokens: Tokens, definition: Endpoint): void {
  const options: RouteShorthandOptions & { method: HTTPMethods } = {
    method: definition.method,
    config: { scope: definition.scope },
    schema: openApiSchema(definition),
    ...(definition.bodyLimitBytes === undefined ? {} : { bodyLimit: definition.bodyLimitBytes }),
    onRequest: async (request) => {
      if (definition.scope === 'public') return;
      const scopes = tokens.authenticate(request.headers.authorization);
      callerScopes.set(request, scopes);
      if (definition.scope !== 'each') authorize(scopes, definition.scope);
    },
    preValidation: async (request) => {
      if (definition.keyed) requireKey(request);
      // No body at all is an empty one; what it lacks is then named field by field.
      if (definition.body && request.body === undefined) request.body = {};
      assertPlainText(request.params, 'params');
      assertPlainText(request.query, 'querystring');
      assertPlainText(request.body, 'body');
    },
  };
  app.route({
    ...options,
    url: definition.path,
    handler: async (request, reply) => respond(reply, await run(definition, request, reply)),
  });
}

const NO_SCOPES: ReadonlySet<Scope> = new Set();
const callerScopes = new WeakMap<FastifyRequest, ReadonlySet<Scope>>();

async function run(definition: Endpoint, request: FastifyRequest, reply: FastifyReply): Promise<EndpointReply> {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  const epoch = request.headers['gsv-fencing-epoch'] as unknown as number | undefined;
  try {
    return await definition.handle({
      params: request.params as Record<string, string>,
      query: request.query as EndpointCall['query'],
      body: request.body,
      key: definition.keyed ? String(request.headers['idempotency-key']) : '',
      epoch: epoch === undefined ? {} : { epoch: Number(epoch) },
      scopes: callerScopes.get(request) ?? NO_SCOPES,
      gone: gone.signal,
      log: request.log as Logger,
    });
  } catch (error) {
    throw toLedgerProblem(error);
  }
}

function respond(reply: FastifyReply, result: EndpointReply): FastifyReply {
  if (typeof result.body === 'string') void reply.type('text/csv; charset=utf-8');
  if (result.replayed) void reply.header('idempotency-replayed', 'true');
  return reply.status(result.status).send(result.body);
}

/**
 * The reply of an operation, its refusals as problems.
 *
 * @throws Problem for a result from status 400 on
 */
export function answer(result: OperationResult): EndpointReply {
  if (result.status < 400) return result;
  const { code, detail, ...extra } = result.body;
  throw new Problem({ status: result.status, code: String(code), detail: String(detail), extra });
}

/** 422 for a rule that no schema expresses. `where` is the part of the request, as Fastify calls it. */
export function invalidRequest(where: string, pointer: string, rule: string, message: string): Problem {
  return new Problem({
    status: 422,
    code: 'invalid_request',
    detail: `${where} is invalid: ${pointer} ${message}`,
    errors: [{ pointer, rule, message }],
  });
}

function requireKey(request: FastifyRequest): void {
  const key = request.headers['idempotency-key'];
  if (typeof key === 'string' && key !== '') return;
  throw new Problem({
    status: 400,
    code: 'idempotency_key_required',
    detail: 'send an Idempotency-Key header, the same one on every retry of this call',
  });
}

function openApiSchema(definition: Endpoint): Record<string, unknown> {
  const isPublic = definition.scope === 'public';
  const example = exampleOf(definition.method, definition.path);
  return {
    summary: definition.summary,
    ...(isPublic ? {} : { description: scopeText(definition.scope) }),
    security: isPublic ? [] : [{ [SECURITY_SCHEME]: [] }],
    headers: headersSchema(definition.keyed ?? false, example.key),
    ...(definition.params
      ? {
          params: {
            type: 'object',
            properties: shownEach(definition.params, example.params),
            required: Object.keys(definition.params),
          },
        }
      : {}),
    ...(definition.query
      ? { querystring: object(shownEach(definition.query, example.query), definition.requiredQuery) }
      : {}),
    ...(definition.body ? { body: shown(definition.body, example.request) } : {}),
    response: { ...produced(definition, example), ...refusals(example) },
  };
}

function produced({ replies, produces }: Endpoint, example: RouteExample): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(replies).map(([status, schema]) => [
      status,
      produces === undefined
        ? shown(schema, example.replies[status])
        : { description: 'The file', content: { [produces]: { schema, example: example.replies[status] } } },
    ]),
  );
}

/** What every route may answer; shown is the first refusal that its example has. */
function refusals({ replies }: RouteExample): Record<string, unknown> {
  const [, example] = Object.entries(replies).find(([status]) => status.startsWith('4')) ?? [];
  const problems = (media: object) => ({
    description: 'A problem',
    content: { 'application/problem+json': { schema: problem, ...media } },
  });
  return { '4xx': problems(example === undefined ? {} : { example }), '5xx': problems({}) };
}

function scopeText(scope: EndpointScope): string {
  return scope === 'each' ? 'Each operation needs the scope of its own route.' : `Needs the scope \`${scope}\`.`;
}

function shown(schema: Schema, example: unknown): Schema {
  return example === undefined ? schema : { ...schema, examples: [example] };
}

function shownEach(schemas: Record<string, Schema>, examples: Record<string, unknown> = {}): Record<string, Schema> {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, shown(schema, examples[name])]));
}

function headersSchema(keyed: boolean, example: string | undefined): Schema {
  const key = {
    'idempotency-key': shown(
      { type: 'string', minLength: 1, maxLength: MAX_KEY_CHARACTERS, pattern: '^[\\x20-\\x7e]+$' },
      example,
    ),
  };
  const epoch = { 'gsv-fencing-epoch': { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } };
  return {
    type: 'object',
    properties: keyed ? { ...key, ...epoch } : epoch,
    required: keyed ? ['idempotency-key'] : [],
  };
}
