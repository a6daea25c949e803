import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { streamEvents, syncResponse } from './sample-events.ts';
import { GraphError, type RunContext, readSampleFlow, type SampleFlow } from './sample-flow.ts';

/** A flow export is tens of kilobytes. */
const BODY_MAX_BYTES = 32 * 1024 * 1024;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Extra fields are refused, as by lfx's request model. */
const RUN_FIELDS = new Set([
  ...['flow_id', 'input_value', 'session_id', 'mode', 'stream_protocol', 'globals'],
  ...['tweaks', 'output_ids', 'data', 'files', 'start_component_id', 'stop_component_id', 'idempotency_key'],
]);

export interface SampleRuntimeOptions {
  /** 0 or absent = a free one. */
  port?: number;
  key: string;
}

export interface SampleRuntime {
  url: string;
  key: string;
  close(): Promise<void>;
}

interface Reply {
  status: number;
  body?: unknown;
}

/**
 * A runtime that answers like `lfx serve` 1.13.0 (paths, statuses, bodies, events), for the quickstart
 * and for tests without Python. `contract.suite.ts` holds both to the same promises.
 */
export async function startSampleRuntime(options: SampleRuntimeOptions): Promise<SampleRuntime> {
  const flows = new Map<string, SampleFlow>();
  const server = createServer((request, response) => {
    serve(request, response, flows, options.key).catch(() => {
      if (!response.headersSent) sendJson(response, { status: 500, body: { detail: 'Internal Server Error' } });
      else response.destroy();
    });
  });
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    key: options.key,
    close: async () => {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, 'close');
    },
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  flows: Map<string, SampleFlow>,
  key: string,
): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  const route = `${request.method} ${pathname}`;
  const health = { status: 'healthy', flow_count: flows.size };
  if (route === 'GET /health') return sendJson(response, { status: 200, body: health });
  // The body is checked before the key, as FastAPI does it.
  if (route === 'POST /api/v2/workflows') return workflows(request, response, flows, key);
  const refusal = unauthorised(request, key);
  if (refusal) return sendJson(response, refusal);
  if (route === 'GET /flows') return sendJson(response, { status: 200, body: [...flows.values()].map(info) });
  if (route === 'POST /flows/upload/') return sendJson(response, upload(await readJson(request), flows));
  if (route === 'POST /flows/upload')
    return sendJson(response, { status: 405, body: { detail: 'Method Not Allowed' } });
  const [, id, rest] = /^\/flows\/([^/]+)(\/info)?$/.exec(pathname) ?? [];
  if (id !== undefined) return sendJson(response, oneFlow(request.method ?? '', id, rest, flows));
  sendJson(response, { status: 404, body: { detail: 'Not Found' } });
}

function oneFlow(method: string, id: string, rest: string | undefined, flows: Map<string, SampleFlow>): Reply {
  const flow = flows.get(id);
  if (!flow) return { status: 404, body: { detail: { error: 'flow not found', flow_id: id } } };
  if (method === 'GET' && rest) return { status: 200, body: info(flow) };
  if (method !== 'DELETE' || rest) return { status: 405, body: { detail: 'Method Not Allowed' } };
  flows.delete(id);
  return { status: 204 };
}

function unauthorised(request: IncomingMessage, key: string): Reply | undefined {
  const presented = request.headers['x-api-key'];
  if (presented === undefined) return { status: 401, body: { detail: 'API key required' } };
  return presented === key ? undefined : { status: 401, body: { detail: 'Invalid API key' } };
}

function upload(body: unknown, flows: Map<string, SampleFlow>): Reply {
  const flow = body as { id?: unknown; name?: unknown; data?: unknown; replace?: unknown };
  if (typeof flow?.name !== 'string') return missing('name');
  if (typeof flow.data !== 'object' || flow.data === null) return missing('data');
  const id = flow.id ?? crypto.randomUUID();
  if (typeof id !== 'string' || !UUID.test(id)) return invalid(['body', 'id'], 'Value error, id must be a valid UUID');
  if (flows.has(id) && flow.replace !== true)
    return { status: 409, body: { detail: `Flow '${id}' already exists. Pass replace=true to overwrite.` } };
  try {
    const read = readSampleFlow({ ...flow, id });
    flows.set(id, read);
    const { name, description } = read;
    return { status: 201, body: { id, name, description, run_url: `/flows/${id}/run` } };
  } catch (error) {
    if (error instanceof GraphError) return { status: 422, body: { detail: error.message } };
    throw error;
  }
}

async function workflows(
  request: IncomingMessage,
  response: ServerResponse,
  flows: Map<string, SampleFlow>,
  key: string,
): Promise<void> {
  const body = ((await readJson(request)) ?? {}) as Record<string, unknown>;
  const refusal = invalidRun(body) ?? unauthorised(request, key);
  if (refusal) return sendJson(response, refusal);
  const id = String(body.flow_id);
  const flow = flows.get(id);
  if (!flow) {
    const detail = { error: 'flow not found', code: 'FLOW_NOT_FOUND', flow_id: id };
    return sendJson(response, { status: 404, body: { detail } });
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client left')));
  const context: RunContext = {
    input: String(body.input_value ?? ''),
    globals: (body.globals ?? {}) as Record<string, string>,
    signal: gone.signal,
  };
  const session = typeof body.session_id === 'string' ? body.session_id : id;
  if (body.mode !== 'stream')
    return sendJson(response, { status: 200, body: await syncResponse(flow, context, session) });
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  let sequence = 0;
  for await (const event of streamEvents(flow, context, session)) {
    if (gone.signal.aborted) return;
    response.write(`id: ${sequence++}\ndata: ${JSON.stringify(event)}\n\n`);
  }
  response.end();
}

function invalidRun(body: Record<string, unknown>): Reply | undefined {
  for (const field of Object.keys(body))
    if (!RUN_FIELDS.has(field)) return invalid(['body', field], 'Extra inputs are not permitted', 'extra_forbidden');
  if (typeof body.flow_id !== 'string') return missing('flow_id');
  if (!UUID.test(body.flow_id)) return invalid(['body'], 'Value error, Invalid flow_id, must be a UUID');
  if (body.mode === 'background')
    return { status: 422, body: { detail: { error: 'Unsupported mode', code: 'LFX_SERVE_UNSUPPORTED_MODE' } } };
  const protocol = body.stream_protocol ?? 'langflow';
  if (protocol === 'langflow') return undefined;
  return { status: 422, body: { detail: { error: 'Unknown stream_protocol', code: 'UNKNOWN_STREAM_PROTOCOL' } } };
}

function missing(field: string): Reply {
  return invalid(['body', field], 'Field required', 'missing');
}

function invalid(loc: string[], msg: string, type = 'value_error'): Reply {
  return { status: 422, body: { detail: [{ type, loc, msg }] } };
}

function info(flow: SampleFlow): Record<string, string> {
  return { id: flow.id, relative_path: '<uploaded>', title: flow.name, description: flow.description };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_MAX_BYTES) throw new RangeError('the body is too large');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8') || 'null');
}

function sendJson(response: ServerResponse, reply: Reply): void {
  if (reply.body === undefined) {
    response.writeHead(reply.status).end();
    return;
  }
  response.writeHead(reply.status, { 'content-type': 'application/json' }).end(JSON.stringify(reply.body));
}
