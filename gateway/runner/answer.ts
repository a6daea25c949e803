import type { Flow } from './flow.ts';
import { type Tokens, UsageMeter } from './usage.ts';

/** One event of the runtime's stream: `data: {"event", "data"}`. */
export interface RuntimeEvent {
  event: string;
  data: Record<string, unknown>;
}

/** What an event means for the run. */
export type FlowSignal =
  | { type: 'delta'; text: string }
  | { type: 'tool'; name: string; state: 'started' | 'finished' }
  /** `vertex`: the component that failed, if known. `error` may hold paths, tracebacks and secrets: only for the log, scrubbed. */
  | { type: 'failed'; vertex: string | undefined; error: string }
  | { type: 'ended' };

/**
 * Reads one execution of a flow: what streams, which tools ran, what was used, and in the end the
 * answer. Everything else that the runtime says (echoed globals, component internals) is dropped here.
 */
export class FlowReading {
  readonly #flow: Flow;
  readonly #usage = new UsageMeter();
  readonly #answers = new Map<string, string>();
  readonly #tools = new Map<string, 'started' | 'finished'>();
  #building: string | undefined;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  get usage(): Tokens | undefined {
    return this.#usage.total();
  }

  /** The text of the flow's outputs, in the flow's order; undefined when it gave none. */
  get text(): string | undefined {
    const outputs = this.#flow.terminals.filter((terminal) => terminal.text);
    const terminals = outputs.length > 0 ? outputs : this.#flow.terminals;
    const texts = terminals.flatMap(({ id }) => this.#answers.get(id) ?? []);
    return texts.length > 0 ? texts.join('\n\n') : undefined;
  }

  take({ event, data }: RuntimeEvent): FlowSignal[] {
    switch (event) {
      case 'build_start':
        return this.#buildStart(textOf(data.id) ?? '');
      case 'token':
        return this.#token(data);
      case 'add_message':
        return this.#message(data);
      case 'end_vertex':
        return this.#endVertex(objectOf(data.build_data));
      case 'output':
        return this.#output(textOf(data.component_id), data.content);
      case 'error':
        return [this.#failed(data)];
      case 'workflow_response':
        return this.#wholeResponse(data);
      case 'end':
        return [{ type: 'ended' }];
      default:
        return [];
    }
  }

  #buildStart(vertex: string): FlowSignal[] {
    this.#building = vertex;
    this.#usage.buildStarted(vertex);
    return [];
  }

  #token(data: Record<string, unknown>): FlowSignal[] {
    this.#usage.tokenStreamed(textOf(data.id) ?? '');
    const text = textOf(data.chunk);
    return text ? [{ type: 'delta', text }] : [];
  }

  #message(data: Record<string, unknown>): FlowSignal[] {
    const properties = objectOf(data.properties);
    const source = textOf(objectOf(properties.source).id) ?? '';
    this.#usage.messageSeen(textOf(data.id) ?? '', source, properties.usage);
    return this.#toolSignals(data.content_blocks);
  }

  /** An agent's message repeats all its content blocks each time; only what is new is told. */
  #toolSignals(blocks: unknown): FlowSignal[] {
    const signals: FlowSignal[] = [];
    for (const [index, block] of listOf(blocks).flatMap(contentsOf).entries()) {
      const name = textOf(block.name);
      if (block.type !== 'tool_use' || !name) continue;
      const key = `${index} ${name}`;
      const finished = block.output !== undefined && block.output !== null;
      if (!this.#tools.has(key)) signals.push({ type: 'tool', name, state: 'started' });
      if (finished && this.#tools.get(key) !== 'finished') signals.push({ type: 'tool', name, state: 'finished' });
      this.#tools.set(key, finished ? 'finished' : 'started');
    }
    return signals;
  }

  #endVertex(build: Record<string, unknown>): FlowSignal[] {
    const vertex = textOf(build.id) ?? '';
    const data = objectOf(build.data);
    this.#usage.vertexEnded(vertex, data.token_usage);
    if (build.valid === false) return [{ type: 'failed', vertex, error: textOf(build.params) ?? 'not valid' }];
    const text = vertexText(data);
    if (text !== undefined) this.#answers.set(vertex, text);
    return [];
  }

  #output(component: string | undefined, content: unknown): FlowSignal[] {
    if (component !== undefined && typeof content === 'string') this.#answers.set(component, content);
    return [];
  }

  #failed(data: Record<string, unknown>): FlowSignal {
    const source = textOf(objectOf(objectOf(data.properties).source).id);
    const error = textOf(data.error) ?? textOf(data.text) ?? JSON.stringify(data);
    return { type: 'failed', vertex: source ?? this.#building, error };
  }

  /** A runtime without streams answers one JSON document: errors come in it with HTTP 200. */
  #wholeResponse(body: Record<string, unknown>): FlowSignal[] {
    if (body.status !== 'completed' || body.has_errors === true) {
      const errors = listOf(body.errors).map((error) => textOf(objectOf(error).error) ?? '');
      return [{ type: 'failed', vertex: undefined, error: errors.join('; ') || `status ${String(body.status)}` }];
    }
    for (const [id, output] of Object.entries(objectOf(body.outputs))) this.#output(id, objectOf(output).content);
    return [{ type: 'ended' }];
  }
}

/** `results.<output>.text` of a message, else the text of the first output log. */
function vertexText(data: Record<string, unknown>): string | undefined {
  for (const result of Object.values(objectOf(data.results))) {
    const text = typeof result === 'string' ? result : textOf(objectOf(result).text);
    if (text !== undefined) return text;
  }
  for (const output of Object.values(objectOf(data.outputs))) {
    const { message, type } = objectOf(output);
    if (type === 'text' && typeof message === 'string') return message;
  }
  return undefined;
}

/** Older builds group content blocks as `{contents: [...]}`, newer ones list them flat. */
function contentsOf(block: unknown): Record<string, unknown>[] {
  const { contents } = objectOf(block);
  return Array.isArray(contents) ? contents.map(objectOf) : [objectOf(block)];
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
