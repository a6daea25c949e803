/** Tokens as a runtime reports them. */
export interface Tokens {
  input: number;
  output: number;
}

interface StreamedMessage {
  source: string;
  streamed: boolean;
  /** The first usage that was reported under this message id. */
  first: Tokens | undefined;
}

/**
 * Adds up token usage from an lfx v2 stream, which reports the same figures about five times.
 *
 * - `end_vertex` of a component that called a model carries its own usage: counted once per (vertex,
 *   execution); an execution begins with `build_start`, so a vertex in a loop counts each time.
 * - A model whose answer is streamed reports none there; then the message that carried its tokens does.
 *   Its first figure is the model's own: a later one is the sum over all vertices before the output.
 * - Other messages only repeat sums and are used only when nothing else was reported at all.
 *
 * (lfx 1.13.0: `graph/vertex/base.py` `_extract_token_usage`, `components/input_output/chat_output.py`.)
 */
export class UsageMeter {
  readonly #executions = new Map<string, number>();
  readonly #vertices = new Map<string, Tokens>();
  readonly #reporting = new Set<string>();
  readonly #messages = new Map<string, StreamedMessage>();

  buildStarted(vertex: string): void {
    this.#executions.set(vertex, (this.#executions.get(vertex) ?? 0) + 1);
  }

  vertexEnded(vertex: string, usage: unknown): void {
    const tokens = readTokens(usage);
    if (!tokens) return;
    this.#reporting.add(vertex);
    this.#vertices.set(`${this.#executions.get(vertex) ?? 0} ${vertex}`, tokens);
  }

  tokenStreamed(message: string): void {
    this.#message(message).streamed = true;
  }

  messageSeen(message: string, source: string, usage: unknown): void {
    const seen = this.#message(message);
    if (source !== '') seen.source = source;
    seen.first ??= readTokens(usage);
  }

  /** Undefined when the runtime reported nothing: then the contract's Run dimension alone applies. */
  total(): Tokens | undefined {
    const counted = [...this.#vertices.values()];
    for (const message of this.#messages.values())
      if (message.streamed && message.first && !this.#reporting.has(message.source)) counted.push(message.first);
    if (counted.length === 0) counted.push(...largestPerSource(this.#messages.values()));
    if (counted.length === 0) return undefined;
    return {
      input: counted.reduce((sum, each) => sum + each.input, 0),
      output: counted.reduce((sum, each) => sum + each.output, 0),
    };
  }

  #message(id: string): StreamedMessage {
    const known = this.#messages.get(id);
    if (known) return known;
    const fresh: StreamedMessage = { source: id, streamed: false, first: undefined };
    this.#messages.set(id, fresh);
    return fresh;
  }
}

function largestPerSource(messages: Iterable<StreamedMessage>): Tokens[] {
  const bySource = new Map<string, Tokens>();
  for (const { source, first } of messages) {
    const known = bySource.get(source);
    if (first && (!known || first.input + first.output > known.input + known.output)) bySource.set(source, first);
  }
  return [...bySource.values()];
}

function readTokens(usage: unknown): Tokens | undefined {
  if (typeof usage !== 'object' || usage === null) return undefined;
  const { input_tokens: input, output_tokens: output } = usage as Record<string, unknown>;
  if (!isCount(input) && !isCount(output)) return undefined;
  return { input: isCount(input) ? input : 0, output: isCount(output) ? output : 0 };
}

/** No model call comes near it; it keeps a broken runtime from pricing beyond what an integer holds. */
const TOKENS_MAX = 1_000_000_000;

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= TOKENS_MAX;
}
