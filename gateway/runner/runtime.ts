import { createParser } from 'eventsource-parser';
import { type Dispatcher, Pool } from 'undici';
import type { RuntimeEvent } from './answer.ts';
import type { Flow } from './flow.ts';

/** Parallel connections to one runtime; each run holds one while it lasts. */
const CONNECTIONS = 256;
const CONNECT_TIMEOUT_MS = 5_000;
/** Health and upload; an upload builds the flow's graph once. */
const CALL_TIMEOUT_MS = 30_000;
/** All bytes of one run's stream. lfx repeats whole messages in every event, so this is far above the answer's own size. */
export const STREAM_MAX_BYTES = 64 * 1024 * 1024;
/** One event of it. */
const EVENT_MAX_CHARS = 8 * 1024 * 1024;
/** Replies to health and upload. */
const REPLY_MAX_BYTES = 1024 * 1024;
/** How much of a runtime's error text is kept for the log. */
const ERROR_TEXT_MAX = 2_000;

/** How a call to the runtime failed. `message` is for the log (scrubbed), never for a client. */
export class RuntimeError extends Error {
  readonly code: 'runtime_unavailable' | 'runtime_error' | 'artifact_rejected' | 'flow_not_found' | 'output_too_large';
  constructor(code: RuntimeError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RuntimeError';
    this.code = code;
  }

  /** A runtime may quote in its error what a run sent it: the same error without the run's secrets. */
  scrubbed(scrubber: { text(text: string): string }): RuntimeError {
    return new RuntimeError(this.code, scrubber.text(this.message), { cause: this.cause });
  }
}

export interface RuntimeOptions {
  /** Base URL, e.g. `http://127.0.0.1:7860`. */
  url: string;
  /** Asked before every call, so that a rotated key is used at once. */
  key: () => string;
  /** Older builds say `/api/v2/workflow`. */
  workflowsPath?: string | undefined;
}

export interface FlowRun {
  flowId: string;
  input: string;
  /** Already scoped to the Instance. */
  session: string;
  globals: Record<string, string>;
  signal: AbortSignal;
}

/** Client of `lfx serve` (and of Langflow's v2 API): health, upload, one streamed run. Follows no redirect. */
export class RuntimeClient {
  readonly #pool: Pool;
  readonly #prefix: string;
  readonly #workflows: string;
  readonly #key: () => string;

  constructor(options: RuntimeOptions) {
    const url = new URL(options.url);
    this.#prefix = url.pathname.replace(/\/$/, '');
    this.#workflows = options.workflowsPath ?? '/api/v2/workflows';
    this.#key = options.key;
    this.#pool = new Pool(url.origin, { connections: CONNECTIONS, connect: { timeout: CONNECT_TIMEOUT_MS } });
  }

  /** What must never leave with an answer. */
  get secret(): string {
    return this.#key();
  }

  /**
   * Makes sure that a flow is there. A flow that already is (409) has the same content: its id is
   * derived from the artifact's digest.
   *
   * @throws RuntimeError `artifact_rejected` when its graph cannot be built here
   */
  async upload(flow: Flow): Promise<void> {
    const { id, name, description, data } = flow;
    // Without the trailing slash lfx answers 405.
    const reply = await this.#call('POST', '/flows/upload/', { id, name, description, data });
    if (reply.status === 201 || reply.status === 200 || reply.status === 409) return;
    if (reply.status === 422 || reply.status === 400)
      throw new RuntimeError('artifact_rejected', `upload answered ${reply.status}: ${reply.text}`);
    throw statusError(reply.status, reply.text);
  }

  /** Whether the runtime knows a flow; proves address, key and contract with one cheap call. */
  async knows(flowId: string): Promise<boolean> {
    const reply = await this.#call('GET', `/flows/${flowId}/info`);
    if (reply.status === 200) return true;
    if (reply.status === 404) return false;
    throw statusError(reply.status, reply.text);
  }

  /**
   * Executes a flow and yields its events until the runtime ends the stream. It is read as fast as it
   * comes: lfx fails a run whose reader falls 256 events behind. Leaving the loop, or the signal,
   * closes the connection, which cancels the run there.
   */
  async *run(run: FlowRun): AsyncGenerator<RuntimeEvent, void, void> {
    const body = {
      flow_id: run.flowId,
      input_value: run.input,
      session_id: run.session,
      mode: 'stream',
      stream_protocol: 'langflow',
      globals: run.globals,
    };
    const response = await this.#request('POST', this.#workflows, body, run.signal);
    if (response.statusCode !== 200) throw await runFailure(response);
    const type = String(response.headers['content-type'] ?? '');
    if (type.startsWith('application/json')) {
      yield { event: 'workflow_response', data: parseObject(await readText(response.body, STREAM_MAX_BYTES)) };
      return;
    }
    if (!type.startsWith('text/event-stream')) {
      response.body.destroy();
      throw new RuntimeError('runtime_error', `the runtime answered ${type || 'no content type'}, not an event stream`);
    }
    yield* events(response.body);
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  /** Takes no new calls; those in progress end by themselves. */
  retire(): void {
    this.#pool.close().catch(() => undefined);
  }

  async #call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<{ status: number; text: string }> {
    const response = await this.#request(method, path, body, AbortSignal.timeout(CALL_TIMEOUT_MS));
    try {
      return { status: response.statusCode, text: await readText(response.body, REPLY_MAX_BYTES) };
    } catch (error) {
      if (error instanceof RuntimeError) throw error;
      throw new RuntimeError('runtime_unavailable', `the runtime broke off its reply to ${path}`, { cause: error });
    }
  }

  async #request(
    method: 'GET' | 'POST',
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    try {
      const response = await this.#pool.request({
        method,
        path: this.#prefix + path,
        headers: {
          'x-api-key': this.#key(),
          accept: 'text/event-stream, application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal,
        // The signal bounds the call as a whole; a flow may be silent for as long as its contract lets it run.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      // A body that is dropped unread, or breaks after its reader left, must not end the process; readers still see it.
      response.body.on('error', () => undefined);
      return response;
    } catch (error) {
      throw new RuntimeError('runtime_unavailable', `the runtime does not answer ${path}`, { cause: error });
    }
  }
}

async function* events(body: AsyncIterable<Uint8Array>): AsyncGenerator<RuntimeEvent, void, void> {
  const ready: RuntimeEvent[] = [];
  let broken: Error | undefined;
  const parser = createParser({
    maxBufferSize: EVENT_MAX_CHARS,
    onEvent: (message) => ready.push(parseEvent(message.data)),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') broken = error;
    },
  });
  const decoder = new TextDecoder();
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      parser.feed(decoder.decode(chunk, { stream: true }));
      if (broken || bytes > STREAM_MAX_BYTES)
        throw new RuntimeError('output_too_large', `the stream exceeds its bound after ${bytes} bytes`);
      yield* ready.splice(0);
    }
  } catch (error) {
    if (error instanceof RuntimeError) throw error;
    throw new RuntimeError('runtime_error', `the stream broke off after ${bytes} bytes`, { cause: error });
  }
}

function parseEvent(text: string): RuntimeEvent {
  const { event, data } = parseObject(text);
  return {
    event: typeof event === 'string' ? event : '',
    data: typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {},
  };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // The parser's message quotes the text, which may hold secrets.
  }
  throw new RuntimeError('runtime_error', 'the runtime sent something that is not a JSON object');
}

/** 404 of a flow is told apart from 404 of a wrong address: the first is cured by an upload. */
async function runFailure(response: Dispatcher.ResponseData): Promise<RuntimeError> {
  const text = (await readText(response.body, REPLY_MAX_BYTES).catch(() => '')).slice(0, ERROR_TEXT_MAX);
  if (response.statusCode === 404 && text.includes('FLOW_NOT_FOUND'))
    return new RuntimeError('flow_not_found', 'the runtime does not know the flow');
  return statusError(response.statusCode, text);
}

/** A refused key, a wrong address, overload and a proxy in between are ours to repair: the run never began. */
const UNAVAILABLE = new Set([401, 403, 404, 405, 429, 502, 503, 504]);

function statusError(status: number, text: string): RuntimeError {
  const code = UNAVAILABLE.has(status) ? 'runtime_unavailable' : 'runtime_error';
  return new RuntimeError(code, `the runtime answered ${status}: ${text.slice(0, ERROR_TEXT_MAX)}`);
}

async function readText(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new RuntimeError('output_too_large', `a reply exceeds ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
