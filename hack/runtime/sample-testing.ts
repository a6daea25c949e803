/** Flows for tests on the sample runtime: what they do stands in the flow, not in a switch of the runtime. */

type Field = string | { value: string; load_from_db: boolean };

interface Vertex {
  id: string;
  type: string;
  fields?: Record<string, Field>;
  /** Field -> the vertex whose text it gets. */
  from?: Record<string, string>;
}

/** A flow document of these vertices, in this order. */
export function sampleFlow(name: string, vertices: readonly Vertex[]): Uint8Array {
  const nodes = vertices.map(({ id, type, fields = {} }) => {
    const template = Object.fromEntries(
      Object.entries(fields).map(([field, value]) => [field, typeof value === 'string' ? { value } : value]),
    );
    return { id, data: { id, type, node: { display_name: type, template } } };
  });
  const edges = vertices.flatMap(({ id, from = {} }) =>
    Object.entries(from).map(([fieldName, source]) => ({ source, target: id, data: { targetHandle: { fieldName } } })),
  );
  return new TextEncoder().encode(JSON.stringify({ name, description: '', data: { nodes, edges } }));
}

const input: Vertex = { id: 'ChatInput-in', type: 'ChatInput' };
const output = (from: string): Vertex => ({ id: 'ChatOutput-out', type: 'ChatOutput', from: { input_value: from } });

/** A model that restates its input: tokens, chunks, usage told five times. */
export const MODEL_FLOW = sampleFlow('model', [
  input,
  { id: 'Model-1', type: 'SampleModel', from: { prompt: input.id } },
  output('Model-1'),
]);

/** Streams a secret word by word through a model, and as text through a prompt. */
export function SECRET_FLOW(global: string): Uint8Array {
  return sampleFlow('secret', [
    input,
    { id: 'TextInput-token', type: 'TextInput', fields: { input_value: { value: global, load_from_db: true } } },
    {
      id: 'Prompt-1',
      type: 'Prompt Template',
      fields: { template: '{question} {token}' },
      from: { question: input.id, token: 'TextInput-token' },
    },
    output('Prompt-1'),
  ]);
}

/** The model's preamble is the secret: it travels in token events. */
export function SECRET_STREAM_FLOW(global: string): Uint8Array {
  return sampleFlow('secret-stream', [
    input,
    {
      id: 'Model-1',
      type: 'SampleModel',
      fields: { system: { value: global, load_from_db: true } },
      from: { prompt: input.id },
    },
    output('Model-1'),
  ]);
}

/** Waits before it answers. */
export function SLOW_FLOW(milliseconds: number): Uint8Array {
  return sampleFlow('slow', [
    input,
    { id: 'Delay-1', type: 'SampleDelay', fields: { milliseconds: String(milliseconds) }, from: { text: input.id } },
    output('Delay-1'),
  ]);
}

/** Tells its whole answer, then goes on working: the client has read everything long before the receipt. */
export function TALKATIVE_FLOW(milliseconds: number): Uint8Array {
  return sampleFlow('talkative', [
    input,
    { id: 'Model-1', type: 'SampleModel', from: { prompt: input.id } },
    output('Model-1'),
    { id: 'Delay-1', type: 'SampleDelay', fields: { milliseconds: String(milliseconds) }, from: { text: input.id } },
  ]);
}

/** A component raises with this message; `load_from_db` lets it raise with a secret in it. */
export function FAILING_FLOW(message: Field): Uint8Array {
  return sampleFlow('failing', [
    input,
    { id: 'Failure-1', type: 'SampleFailure', fields: { message }, from: { text: input.id } },
    output('Failure-1'),
  ]);
}

/** An agent that uses a tool. */
export const AGENT_FLOW = sampleFlow('agent', [
  input,
  { id: 'Agent-1', type: 'SampleAgent', from: { prompt: input.id } },
  output('Agent-1'),
]);

export const CUSTOM_FLOW = sampleFlow('custom', [input, { id: 'Mine-1', type: 'MyComponent' }, output('Mine-1')]);
