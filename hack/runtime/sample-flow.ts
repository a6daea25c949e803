/**
 * Executes the flows of `config/flows/*.json` the way lfx would, as far as they go: vertices in the order
 * of their edges, a few components, deterministic results. What a component does depends on the flow and
 * its input alone.
 */

export interface SampleFlow {
  id: string;
  name: string;
  description: string;
  nodes: SampleNode[];
  edges: SampleEdge[];
}

export interface SampleNode {
  id: string;
  type: string;
  displayName: string;
  fields: Record<string, { value: unknown; load_from_db?: boolean }>;
}

interface SampleEdge {
  source: string;
  target: string;
  field: string;
}

export interface Tokens {
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

/** What one vertex gave. `tokens` only when it "called a model"; `chunks` only when that streams. */
export interface Built {
  text: string;
  tokens?: Tokens;
  chunks?: string[];
  tools?: string[];
}

export interface RunContext {
  input: string;
  globals: Record<string, string>;
  signal: AbortSignal;
}

/** A component raised: `traceback` is what Python would print, paths and all. */
export class ComponentError extends Error {
  readonly node: SampleNode;
  readonly traceback: string;
  constructor(node: SampleNode, message: string) {
    super(`Error building Component ${node.displayName}: \n\n${message}`);
    this.name = 'ComponentError';
    this.node = node;
    this.traceback = `Traceback (most recent call last):\n  File "/srv/lfx/components/${node.type}.py", line 42, in build\n    raise ValueError(message)\nValueError: ${message}`;
  }
}

/** A graph that lfx would answer 422 for. */
export class GraphError extends Error {}

type Component = (values: Record<string, string>, context: RunContext, node: SampleNode) => Promise<Built> | Built;

/** Names as in lfx where lfx has the component; the `Sample…` ones stand in for models, tools and trouble. */
const COMPONENTS: Record<string, Component> = {
  ChatInput: (_values, { input }) => ({ text: input }),
  ChatOutput: ({ input_value = '' }) => ({ text: input_value }),
  TextInput: ({ input_value = '' }) => ({ text: input_value }),
  'Prompt Template': ({ template = '', ...values }) => ({
    text: template.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? ''),
  }),
  RegexExtractorComponent: ({ input_text = '', pattern = '' }) => ({
    text: [...input_text.matchAll(new RegExp(pattern, 'g'))].map(([match]) => match).join('\n') || 'No matches found',
  }),
  SampleModel: ({ prompt = '', system = '' }) => answerOf(prompt, system),
  SampleAgent: ({ prompt = '', system = '' }) => ({ ...answerOf(prompt, system), tools: ['lookup_policy'] }),
  SampleDelay: async ({ text = '', milliseconds = '0' }, { signal }) => {
    await wait(Number(milliseconds), signal);
    return { text };
  },
  SampleFailure: ({ message = '' }, _context, node) => {
    throw new ComponentError(node, message);
  },
};

/** @throws GraphError */
export function readSampleFlow(body: Record<string, unknown>): SampleFlow {
  const data = body.data as { nodes?: unknown; edges?: unknown };
  if (!Array.isArray(data.nodes) || !Array.isArray(data.edges)) throw new GraphError('data.nodes and data.edges');
  const nodes = data.nodes.map(readNode);
  const known = new Set(nodes.map((node) => node.id));
  const edges = data.edges.map((edge): SampleEdge => {
    const { source, target, data: handles } = edge as { source: string; target: string; data?: EdgeData };
    if (!known.has(source) || !known.has(target)) throw new GraphError(`the edge ${source} -> ${target} leads nowhere`);
    return { source, target, field: handles?.targetHandle?.fieldName ?? 'input_value' };
  });
  return { id: String(body.id), name: String(body.name), description: String(body.description ?? ''), nodes, edges };
}

interface EdgeData {
  targetHandle?: { fieldName?: string };
}

function readNode(value: unknown): SampleNode {
  const { id, data } = value as { id: string; data?: { type?: string; node?: NodeSpec } };
  const type = data?.type ?? '';
  // As a real runtime that forbids custom components: only what it knows is built.
  if (!Object.hasOwn(COMPONENTS, type)) throw new GraphError('Flow build blocked: custom components are not allowed');
  return { id, type, displayName: data?.node?.display_name ?? type, fields: data?.node?.template ?? {} };
}

interface NodeSpec {
  display_name?: string;
  template?: SampleNode['fields'];
}

/** Vertices so that each comes after what it depends on; the document's order decides between equals. */
export function buildOrder(flow: SampleFlow): SampleNode[] {
  const order: SampleNode[] = [];
  const done = new Set<string>();
  while (order.length < flow.nodes.length) {
    const ready = flow.nodes.find(
      (node) => !done.has(node.id) && flow.edges.every((edge) => edge.target !== node.id || done.has(edge.source)),
    );
    if (!ready) throw new GraphError('the graph has a cycle');
    order.push(ready);
    done.add(ready.id);
  }
  return order;
}

/** Builds one vertex from what came before it. @throws ComponentError */
export async function build(
  flow: SampleFlow,
  node: SampleNode,
  built: ReadonlyMap<string, Built>,
  context: RunContext,
): Promise<Built> {
  const values: Record<string, string> = {};
  for (const [name, field] of Object.entries(node.fields)) values[name] = fieldValue(node, field, context.globals);
  for (const edge of flow.edges) if (edge.target === node.id) values[edge.field] = built.get(edge.source)?.text ?? '';
  const component = COMPONENTS[node.type] as Component;
  return component(values, context, node);
}

/** `--no-env-fallback`: a variable that the request does not bring is an error, whatever the environment has. */
function fieldValue(
  node: SampleNode,
  field: { value: unknown; load_from_db?: boolean },
  globals: Record<string, string>,
): string {
  const text = String(field.value ?? '');
  if (field.load_from_db !== true) return text;
  const value = globals[text];
  if (value === undefined)
    throw new ComponentError(node, `1 validation error\nvalue\n  Invalid value type <class 'NoneType'>`);
  return value;
}

/** A "model": restates the prompt in fixed words and counts its words as tokens. */
function answerOf(prompt: string, system: string): Built {
  const words = prompt.split(/\s+/).filter(Boolean);
  const amounts = [...prompt.matchAll(/(\d+(?:\.\d+)?)\s*(?:EUR|USD)/g)].map(([, amount]) => Number(amount));
  const total = amounts.reduce((sum, amount) => sum + amount, 0);
  const text = `${system ? `${system} ` : ''}Read ${words.length} words; ${amounts.length} amounts, ${total} in total. Priority: ${total >= 1000 ? 'high' : 'normal'}.`;
  const chunks = text.match(/\S+\s*/g) ?? [];
  const input = words.length;
  return {
    text,
    chunks,
    tokens: { input_tokens: input, output_tokens: chunks.length, total_tokens: input + chunks.length },
  };
}

function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener('abort', () => {
    clearTimeout(timer);
    reject(signal.reason);
  });
  return promise;
}
