import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import swagger from '@fastify/swagger';
import { Ajv, type ErrorObject } from 'ajv';
import addFormats from 'ajv-formats';
import {
  type ConnectionError,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifySchemaCompiler,
  fastify,
  LogController,
} from 'fastify';
import type { Logger } from './log.ts';
import { Problem, type Violation } from './problem.ts';

export interface HttpAppOptions {
  log: Logger;
  /** Title in `/openapi.json`. */
  title: string;
  /** Largest accepted request body in bytes; above it: 413 `body_too_large`. */
  bodyLimitBytes: number;
  /** OpenAPI security schemes by name; routes refer to them in `schema.security`. */
  securitySchemes?: Record<string, { type: 'http'; scheme: string; description?: string }> | undefined;
}

const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** A slow client may take this long to send its request; then the socket is closed. */
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * The HTTP frame of ledger, edge and runner: problem+json for every error, a request id on every
 * reply, strict bodies (unknown fields refused, nothing coerced), coerced query strings, OpenAPI 3.1
 * at `/openapi.json` generated from the route schemas.
 */
export async function createHttpApp(options: HttpAppOptions): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: options.log,
    // Requests are counted in metrics; a line for each would drown what matters.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimitBytes,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    genReqId: (request) => validRequestId(request.headers['x-request-id']) ?? randomUUID(),
    routerOptions: { maxParamLength: 1024 },
    // Raised before any route is found, where neither the hooks nor the error handler are.
    frameworkErrors: (error, request, reply) => void sendProblem(reply.header('x-request-id', request.id), error),
    clientErrorHandler: refuseConnection,
  }) as unknown as FastifyInstance;
  app.setValidatorCompiler(validatorCompiler());
  app.setErrorHandler((error, request, reply) => {
    const problem = toProblem(error);
    if (problem.status >= 500) request.log.error({ err: error, code: problem.code }, 'request failed');
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const problem = new Problem({
      status: 404,
      code: 'not_found',
      detail: `there is no ${request.method} ${request.url.split('?')[0]}`,
    });
    return reply.status(404).header('content-type', PROBLEM_TYPE).send(problem.toDocument(request.id));
  });
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-request-id', request.id);
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: options.title, version: '1' },
      components: { securitySchemes: options.securitySchemes ?? {} },
    },
  });
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  return app;
}

function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const problem = toProblem(error);
  for (const [name, value] of Object.entries(problem.headers)) void reply.header(name, value);
  return reply.status(problem.status).header('content-type', PROBLEM_TYPE).send(problem.toDocument(reply.request.id));
}

/** What is no HTTP request, or too slow or too large a head of one, never becomes a request: the socket is answered. */
function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable) {
    const problem = connectionProblem(error.code);
    const body = JSON.stringify(problem.toDocument(randomUUID()));
    const head = `content-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
    socket.write(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${head}\r\n\r\n${body}`);
  }
  socket.destroy(error);
}

function connectionProblem(code: string | undefined): Problem {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem({ status: 408, code: 'request_timeout', detail: 'the request did not arrive in time' });
    case 'HPE_HEADER_OVERFLOW':
      return new Problem({ status: 431, code: 'headers_too_large', detail: 'the request headers are too large' });
    default:
      return new Problem({ status: 400, code: 'malformed_request', detail: 'this is no valid HTTP request' });
  }
}

function validRequestId(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' && /^[\w.-]{1,64}$/.test(value) ? value : undefined;
}

function validatorCompiler(): FastifySchemaCompiler<object> {
  const strict = new Ajv({ allErrors: true, useDefaults: true, coerceTypes: false, strict: false });
  const coercing = new Ajv({ allErrors: true, useDefaults: true, coerceTypes: true, strict: false });
  for (const ajv of [strict, coercing]) addFormats.default(ajv);
  return ({ schema, httpPart }) => (httpPart === 'body' ? strict : coercing).compile(schema);
}

/** Maps whatever a handler, Fastify or a parser threw onto a problem; unknown errors become 500. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const known = error as Partial<FastifyError> & { validation?: ErrorObject[]; validationContext?: string };
  if (known.validation) {
    const errors = toViolations(known.validation);
    return new Problem({
      status: 422,
      code: 'invalid_request',
      detail: `${known.validationContext ?? 'request'} is invalid: ${errors[0]?.pointer || '/'} ${errors[0]?.message ?? ''}`,
      errors,
    });
  }
  switch (known.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Problem({
        status: 413,
        code: 'body_too_large',
        detail: 'the request body is larger than this route accepts',
        cause: error,
      });
    // Their own messages repeat the URL, which may carry what belongs to nobody's log or screen.
    case 'FST_ERR_BAD_URL':
      return new Problem({ status: 400, code: 'url_invalid', detail: 'the URL is not well-formed', cause: error });
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new Problem({ status: 414, code: 'url_too_long', detail: 'a part of the path is too long', cause: error });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new Problem({
        status: 415,
        code: 'unsupported_media_type',
        detail: 'send the body as application/json',
        cause: error,
      });
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new Problem({
        status: 400,
        code: 'malformed_body',
        detail: 'the request body is not valid JSON',
        cause: error,
      });
  }
  if (error instanceof SyntaxError && known.statusCode === 400) {
    return new Problem({
      status: 400,
      code: 'malformed_body',
      detail: 'the request body is not valid JSON',
      cause: error,
    });
  }
  const status = known.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new Problem({
      status,
      code: 'bad_request',
      detail: known.message ?? 'the request is not valid',
      cause: error,
    });
  }
  return new Problem({
    status: 500,
    code: 'internal',
    detail: 'something failed on our side; retry with the same Idempotency-Key',
    cause: error,
  });
}

/** Turns ajv's errors into JSON pointers and rules; a missing or unknown field is named in the pointer. */
export function toViolations(errors: readonly ErrorObject[]): Violation[] {
  return errors.map((error) => {
    const params = error.params as { missingProperty?: string; additionalProperty?: string };
    const field = params.missingProperty ?? params.additionalProperty;
    return {
      pointer: field === undefined ? error.instancePath : `${error.instancePath}/${escapePointer(field)}`,
      rule: error.keyword,
      message: error.message ?? 'is invalid',
    };
  });
}

function escapePointer(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1');
}
