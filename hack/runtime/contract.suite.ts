import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { FlowReading } from '../../gateway/runner/answer.ts';
import { parseFlow } from '../../gateway/runner/flow.ts';
import { RuntimeClient, RuntimeError } from '../../gateway/runner/runtime.ts';

/** The variable that the secret flow prints. */
export const SECRET_GLOBAL = 'GSV_CRM_TOKEN';

export interface RuntimeUnderTest {
  url: string;
  key: string;
  close(): Promise<void>;
}

export interface RuntimeFlows {
  /** Answers with the input in its text; needs no variable. */
  triage: Uint8Array;
  /** Answers with the value of {@link SECRET_GLOBAL}; fails without it. */
  secret: Uint8Array;
  /** A flow with Python of its own. */
  custom: Uint8Array;
}

interface Subject {
  name: string;
  start(): Promise<RuntimeUnderTest>;
  flows(): Promise<RuntimeFlows>;
}

interface Reply {
  status: number;
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: replies of every shape are looked into
  body: any;
  text: string;
}

const TRIAGE_ID = '11111111-1111-8111-8111-111111111111';
const SECRET_ID = '22222222-2222-8222-8222-222222222222';
const UNKNOWN_ID = '33333333-3333-8333-8333-333333333333';
const SECRET = 'crm-token-0123456789';
const WORKFLOWS = '/api/v2/workflows';

/** What the runner relies on. The sample runtime and a real lfx both pass it. */
export function runtimeContract(subject: Subject): void {
  let runtime: RuntimeUnderTest;
  let flows: RuntimeFlows;

  before(async () => {
    flows = await subject.flows();
    runtime = await subject.start();
    for (const [id, bytes] of [
      [TRIAGE_ID, flows.triage],
      [SECRET_ID, flows.secret],
    ] as const) {
      const reply = await call('POST', '/flows/upload/', uploadOf(bytes, id));
      if (reply.status !== 201) throw new Error(`upload answered ${reply.status}: ${reply.text}`);
    }
  });
  after(() => runtime?.close());

  async function call(method: string, path: string, body?: unknown, key: string | null = runtime.key): Promise<Reply> {
    const response = await fetch(runtime.url + path, {
      method,
      redirect: 'manual',
      headers: {
        ...(key === null ? {} : { 'x-api-key': key }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const type = response.headers.get('content-type') ?? '';
    return { status: response.status, type, text, body: type.includes('json') ? JSON.parse(text) : undefined };
  }

  const name = (behaviour: string): string => `${subject.name}: ${behaviour}`;
  const runBody = (flow: string, mode: 'sync' | 'stream', globals: Record<string, string> = {}) => ({
    flow_id: flow,
    input_value: 'water damage, 300 EUR',
    session_id: 'session-1',
    mode,
    stream_protocol: 'langflow',
    globals,
  });

  test(name('health needs no key and counts the flows'), async () => {
    const reply = await call('GET', '/health', undefined, null);
    assert.is(reply.status, 200);
    assert.is(reply.body.status, 'healthy');
    assert.type(reply.body.flow_count, 'number');
  });

  test(name('no key and a wrong key are refused'), async () => {
    const none = await call('GET', '/flows', undefined, null);
    assert.is(none.status, 401);
    assert.equal(none.body, { detail: 'API key required' });
    const wrong = await call('POST', WORKFLOWS, runBody(TRIAGE_ID, 'sync'), 'wrong');
    assert.is(wrong.status, 401);
    assert.equal(wrong.body, { detail: 'Invalid API key' });
  });

  test(name('a flow that is there is 409 to upload, 200 to ask for'), async () => {
    const again = await call('POST', '/flows/upload/', uploadOf(flows.triage, TRIAGE_ID));
    assert.is(again.status, 409);
    const info = await call('GET', `/flows/${TRIAGE_ID}/info`);
    assert.is(info.status, 200);
    assert.is(info.body.id, TRIAGE_ID);
    assert.is((await call('GET', `/flows/${UNKNOWN_ID}/info`)).status, 404);
  });

  test(name('an upload wants its slash, a name, data and a UUID'), async () => {
    const flow = uploadOf(flows.triage, UNKNOWN_ID);
    assert.is((await call('POST', '/flows/upload', flow)).status, 405);
    assert.is((await call('POST', '/flows/upload/', { ...flow, name: undefined })).status, 422);
    assert.is((await call('POST', '/flows/upload/', { ...flow, data: undefined })).status, 422);
    assert.is((await call('POST', '/flows/upload/', { ...flow, id: 'claims' })).status, 422);
  });

  test(name('a flow with Python of its own is refused'), async () => {
    const reply = await call('POST', '/flows/upload/', uploadOf(flows.custom, UNKNOWN_ID));
    assert.is(reply.status, 422);
    assert.match(reply.text, /custom components are not allowed/);
    assert.is((await call('GET', `/flows/${UNKNOWN_ID}/info`)).status, 404);
  });

  test(name('a deleted flow is gone, and running it is FLOW_NOT_FOUND'), async () => {
    const id = '44444444-4444-8444-8444-444444444444';
    assert.is((await call('POST', '/flows/upload/', uploadOf(flows.triage, id))).status, 201);
    assert.is((await call('DELETE', `/flows/${id}`)).status, 204);
    assert.is((await call('DELETE', `/flows/${id}`)).status, 404);
    const run = await call('POST', WORKFLOWS, runBody(id, 'stream'));
    assert.is(run.status, 404);
    assert.is(run.body.detail.code, 'FLOW_NOT_FOUND');
  });

  test(name('a run refuses unknown fields, ids that are no UUID and unknown protocols'), async () => {
    const body = runBody(TRIAGE_ID, 'sync');
    assert.is((await call('POST', WORKFLOWS, { ...body, surprise: 1 })).status, 422);
    assert.is((await call('POST', WORKFLOWS, { ...body, flow_id: 'claims' })).status, 422);
    assert.is((await call('POST', WORKFLOWS, { ...body, stream_protocol: 'morse' })).status, 422);
  });

  test(name('a sync run answers once, and echoes globals'), async () => {
    const reply = await call('POST', WORKFLOWS, runBody(SECRET_ID, 'sync', { [SECRET_GLOBAL]: SECRET }));
    assert.is(reply.status, 200);
    assert.is(reply.body.status, 'completed');
    assert.is(reply.body.output.reason, 'single');
    assert.match(reply.body.output.text, SECRET);
    assert.equal(reply.body.globals, { [SECRET_GLOBAL]: SECRET });
    assert.is(reply.body.has_errors, false);
  });

  test(name('a component that raises is HTTP 200 with status failed'), async () => {
    const reply = await call('POST', WORKFLOWS, runBody(SECRET_ID, 'sync'));
    assert.is(reply.status, 200);
    assert.is(reply.body.status, 'failed');
    assert.is(reply.body.errors[0].code, 'EXECUTION_ERROR');
    assert.is(reply.body.has_errors, true);
  });

  test(name('a global does not stay for the next run'), async () => {
    await call('POST', WORKFLOWS, runBody(SECRET_ID, 'sync', { [SECRET_GLOBAL]: SECRET }));
    const next = await call('POST', WORKFLOWS, runBody(SECRET_ID, 'sync'));
    assert.is(next.body.status, 'failed');
    assert.not.ok(next.text.includes(SECRET));
  });

  test(name('an empty global resolves'), async () => {
    const reply = await call('POST', WORKFLOWS, runBody(SECRET_ID, 'sync', { [SECRET_GLOBAL]: '' }));
    assert.is(reply.body.status, 'completed', reply.text);
  });

  test(name('a stream is real SSE: ids in order, each vertex begun and ended, one end at the end'), async () => {
    const reply = await call('POST', WORKFLOWS, runBody(TRIAGE_ID, 'stream'));
    assert.is(reply.status, 200);
    assert.match(reply.type, /^text\/event-stream/);
    const events = parseStream(reply.text);
    assert.equal(
      events.map(({ id }) => id),
      events.map((_, index) => String(index)),
    );
    const names = events.map(({ event }) => event);
    assert.is(names.at(-1), 'end');
    assert.is(names.filter((each) => each === 'end').length, 1);
    const begun = events.filter(({ event }) => event === 'build_start').map(({ data }) => data.id);
    const ended = events.filter(({ event }) => event === 'end_vertex').map(({ data }) => data.build_data.id);
    assert.equal(begun, ended);
    assert.ok(begun.length >= 4);
  });

  test(name('a stream that fails has an error event and no end'), async () => {
    const events = parseStream((await call('POST', WORKFLOWS, runBody(SECRET_ID, 'stream'))).text);
    const names = events.map(({ event }) => event);
    assert.ok(names.includes('error'));
    assert.not.ok(names.includes('end'));
  });

  test(name('a stream leaks a secret that a component prints'), async () => {
    const reply = await call('POST', WORKFLOWS, runBody(SECRET_ID, 'stream', { [SECRET_GLOBAL]: SECRET }));
    assert.ok(reply.text.includes(SECRET));
  });

  test(name('the runner uploads by digest, runs, and reads the answer that sync gives'), async () => {
    const client = new RuntimeClient({ url: runtime.url, key: () => runtime.key });
    try {
      const flow = parseFlow(flows.triage, 'a'.repeat(64));
      await client.upload(flow);
      await client.upload(flow);
      assert.is(await client.knows(flow.id), true);
      const reading = new FlowReading(flow);
      let ended = false;
      const run = { flowId: flow.id, input: 'hail, 1200 EUR', session: 's', globals: {}, signal: unaborted() };
      for await (const event of client.run(run))
        for (const signal of reading.take(event)) {
          assert.is.not(signal.type, 'failed');
          if (signal.type === 'ended') ended = true;
        }
      assert.ok(ended);
      const sync = await call('POST', WORKFLOWS, { ...runBody(flow.id, 'sync'), input_value: 'hail, 1200 EUR' });
      assert.is(reading.text, sync.body.output.text);
      assert.match(String(reading.text), '1200 EUR');
    } finally {
      await client.close();
    }
  });

  test(name('the runner reads a failed stream as failed and names the component'), async () => {
    const client = new RuntimeClient({ url: runtime.url, key: () => runtime.key });
    try {
      const flow = parseFlow(flows.secret, 'b'.repeat(64));
      await client.upload(flow);
      const reading = new FlowReading(flow);
      const signals = [];
      const run = { flowId: flow.id, input: 'x', session: 's', globals: {}, signal: unaborted() };
      for await (const event of client.run(run)) signals.push(...reading.take(event));
      const failed = signals.find((signal) => signal.type === 'failed');
      assert.is(failed?.vertex, 'TextInput-token');
      assert.is(reading.text, undefined);
    } finally {
      await client.close();
    }
  });

  test(name('the runner tells an unknown flow from an unknown key'), async () => {
    const flow = { flowId: UNKNOWN_ID, input: 'x', session: 's', globals: {}, signal: unaborted() };
    assert.is(await failureOf(new RuntimeClient({ url: runtime.url, key: () => runtime.key }), flow), 'flow_not_found');
    assert.is(
      await failureOf(new RuntimeClient({ url: runtime.url, key: () => 'wrong' }), flow),
      'runtime_unavailable',
    );
  });
}

function unaborted(): AbortSignal {
  return new AbortController().signal;
}

async function failureOf(client: RuntimeClient, run: Parameters<RuntimeClient['run']>[0]): Promise<string> {
  try {
    for await (const _event of client.run(run));
    return 'none';
  } catch (error) {
    return error instanceof RuntimeError ? error.code : String(error);
  } finally {
    await client.close();
  }
}

function uploadOf(bytes: Uint8Array, id: string): Record<string, unknown> {
  const { name, description, data } = JSON.parse(new TextDecoder().decode(bytes));
  return { id, name, description, data };
}

interface SseEvent {
  id: string | undefined;
  event: string;
  // biome-ignore lint/suspicious/noExplicitAny: events of every shape are looked into
  data: any;
}

function parseStream(text: string): SseEvent[] {
  return text
    .split('\n\n')
    .filter(Boolean)
    .map((block) => {
      const lines = block.split('\n');
      const data = lines.find((line) => line.startsWith('data: '))?.slice('data: '.length) ?? '{}';
      const id = lines.find((line) => line.startsWith('id: '))?.slice('id: '.length);
      return { id, ...JSON.parse(data) };
    });
}
