import { randomUUID } from 'node:crypto';
import {
  type Built,
  build,
  buildOrder,
  ComponentError,
  type RunContext,
  type SampleFlow,
  type SampleNode,
  type Tokens,
} from './sample-flow.ts';

/** One event of `mode: stream`, as lfx 1.13.0 words it. */
export interface StreamEvent {
  event: string;
  data: Record<string, unknown>;
}

/**
 * One execution as lfx streams it. A component that calls a model tells its usage about five times: in
 * its message when complete, again, in its own `end_vertex`, and as a sum in the output's messages.
 */
export async function* streamEvents(
  flow: SampleFlow,
  context: RunContext,
  session: string,
): AsyncGenerator<StreamEvent, void, void> {
  const built = new Map<string, Built>();
  let sum: Tokens | undefined;
  for (const node of buildOrder(flow)) {
    yield { event: 'build_start', data: { id: node.id } };
    let result: Built;
    try {
      result = await build(flow, node, built, context);
    } catch (error) {
      if (!(error instanceof ComponentError)) throw error;
      yield* failure(error, flow, session);
      return;
    }
    built.set(node.id, result);
    yield* streamed(node, result, flow, session);
    sum = add(sum, result.tokens);
    const isOutput = node.type === 'ChatOutput';
    if (isOutput) yield { event: 'add_message', data: message(node, result.text, flow, session, { usage: sum }) };
    yield {
      event: 'end_vertex',
      data: { build_data: buildData(node, result, flow, session, isOutput ? sum : undefined) },
    };
  }
  yield { event: 'end', data: {} };
}

function* streamed(node: SampleNode, result: Built, flow: SampleFlow, session: string): Generator<StreamEvent> {
  if (!result.chunks) return;
  const id = randomUUID();
  const blocks = (result.tools ?? []).map((name) => ({ type: 'tool_use', name, input: {}, output: null }));
  const say = (text: string, extra: MessageExtra): StreamEvent => ({
    event: 'add_message',
    data: { ...message(node, text, flow, session, extra), id },
  });
  yield say('', { state: 'partial', blocks });
  for (const chunk of result.chunks) yield { event: 'token', data: { chunk, id } };
  const finished = blocks.map((block) => ({ ...block, output: 'ok' }));
  yield say(result.text, { usage: result.tokens, blocks: finished });
  yield say(result.text, { usage: result.tokens, blocks: finished });
}

/** Twice: the component's own message, then the run's. Both carry the traceback; no `end` follows. */
function* failure(error: ComponentError, flow: SampleFlow, session: string): Generator<StreamEvent> {
  const text = `${error.message}\n${error.traceback}`;
  yield { event: 'error', data: { ...message(error.node, text, flow, session, {}), category: 'error', error: true } };
  yield { event: 'error', data: { error: text } };
}

/** `mode: sync`: a component's error is HTTP 200 with status `failed`, and `globals` come back as they were sent. */
export async function syncResponse(
  flow: SampleFlow,
  context: RunContext,
  session: string,
): Promise<Record<string, unknown>> {
  const built = new Map<string, Built>();
  const head = {
    flow_id: flow.id,
    session_id: session,
    job_id: randomUUID(),
    object: 'response',
    created_timestamp: new Date().toISOString(),
    warnings: [],
    inputs: {},
    globals: context.globals,
    human_request: null,
  };
  try {
    for (const node of buildOrder(flow)) built.set(node.id, await build(flow, node, built, context));
  } catch (error) {
    if (!(error instanceof ComponentError)) throw error;
    const details = { flow_id: flow.id, error_type: 'ValueError' };
    const errors = [{ error: `Error running graph: ${error.message}`, code: 'EXECUTION_ERROR', details }];
    const output = { reason: 'failed', text: null, source: null };
    return { ...head, session_id: null, status: 'failed', output, errors, outputs: {}, has_errors: true };
  }
  const outputs = flow.nodes
    .filter((node) => node.type === 'ChatOutput')
    .map(
      (node) =>
        [
          node.id,
          {
            type: 'message',
            status: 'completed',
            display_name: node.displayName,
            content: built.get(node.id)?.text ?? '',
            metadata: { component_type: node.type },
          },
        ] as const,
    );
  const [first] = outputs;
  const output =
    outputs.length === 1 && first
      ? { reason: 'single', text: first[1].content, source: first[0] }
      : { reason: outputs.length === 0 ? 'none' : 'multiple', text: null, source: null };
  return { ...head, status: 'completed', output, errors: [], outputs: Object.fromEntries(outputs), has_errors: false };
}

interface MessageExtra {
  usage?: Tokens | undefined;
  state?: 'partial' | 'complete';
  blocks?: unknown[];
}

function message(
  node: SampleNode,
  text: string,
  flow: SampleFlow,
  session: string,
  extra: MessageExtra,
): Record<string, unknown> {
  const user = node.type === 'ChatInput';
  return {
    text,
    sender: user ? 'User' : 'Machine',
    sender_name: user ? 'User' : 'AI',
    session_id: session,
    context_id: '',
    files: [],
    run_id: null,
    timestamp: new Date().toISOString(),
    flow_id: flow.id,
    error: false,
    edit: false,
    properties: {
      source: { id: node.id, display_name: node.displayName, source: node.displayName },
      state: extra.state ?? 'complete',
      targets: [],
      usage: extra.usage ?? null,
      build_duration: null,
    },
    category: 'message',
    content_blocks: extra.blocks ?? [],
    id: randomUUID(),
  };
}

/** Only input and output vertices carry their message in `results`; the others show it in `outputs`. */
function buildData(
  node: SampleNode,
  result: Built,
  flow: SampleFlow,
  session: string,
  sum: Tokens | undefined,
): Record<string, unknown> {
  const chat = node.type === 'ChatInput' || node.type === 'ChatOutput';
  const results = chat ? { message: message(node, result.text, flow, session, { usage: sum }) } : {};
  return {
    id: node.id,
    valid: true,
    data: {
      results,
      artifacts: {},
      outputs: { [chat ? 'message' : 'text']: { message: result.text, type: 'text' } },
      logs: {},
      messages: [],
      timedelta: null,
      duration: null,
      component_display_name: node.displayName,
      component_id: node.id,
      used_frozen_result: false,
      token_usage: result.tokens ?? null,
    },
  };
}

function add(sum: Tokens | undefined, tokens: Tokens | undefined): Tokens | undefined {
  if (!sum || !tokens) return tokens ?? sum;
  return {
    input_tokens: sum.input_tokens + tokens.input_tokens,
    output_tokens: sum.output_tokens + tokens.output_tokens,
    total_tokens: sum.total_tokens + tokens.total_tokens,
  };
}
