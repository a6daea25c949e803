import { createHmac } from 'node:crypto';
import type { Logger } from '../../config/log.ts';
import { Problem } from '../../config/problem.ts';
import type { SecretsBroker } from '../../config/secrets.ts';
import { type Contract, effectiveLimits, priceLines, type Usage } from '../../crds/contract.ts';
import type { LedgerClient } from '../../ledger/client.ts';
import type { RunTicket } from '../ticket.ts';
import { FlowReading, type FlowSignal } from './answer.ts';
import type { Binding, Bindings } from './binding.ts';
import type { Flow } from './flow.ts';
import { resolveGlobals } from './globals.ts';
import { guardHold } from './holds.ts';
import { runnerProblem } from './problems.ts';
import type { Results, StoredRun } from './results.ts';
import type { Run } from './run.ts';
import { type RuntimeClient, RuntimeError } from './runtime.ts';
import type { Runtimes } from './runtimes.ts';
import { Scrubber, type ScrubStream } from './scrub.ts';
import type { ExecutedRun, RunReply, Settlement } from './settle.ts';

export interface RunRequest {
  ticket: RunTicket & { hold: string };
  /** The ticket as it came: scrubbed from everything that leaves. */
  token: string;
  input: string;
  /** The caller's own name for the conversation. */
  session: string | undefined;
}

export interface ExecutorParts {
  bindings: Bindings;
  runtimes: Runtimes;
  secrets: SecretsBroker;
  settlement: Settlement;
  results: Results;
  ledger: LedgerClient;
  settleMs: number;
}

/** Takes one run from its ticket to its receipt, or to a voided hold. */
export class Executor {
  readonly #parts: ExecutorParts;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
  }

  /**
   * A run that its client ends after part of the answer was told is charged for what it used until then;
   * its result is that part.
   *
   * @throws Problem; then the hold is voided, unless the run is done and only its charge is open
   */
  async execute(run: Run, request: RunRequest, log: Logger): Promise<RunReply> {
    const ended = await this.#carriedOut(run, request, log);
    return 'state' in ended ? this.replay(run, ended, log) : this.#parts.settlement.charge(ended, log);
  }

  /** What is stored of the run, or what it gave just now. */
  async #carriedOut(run: Run, request: RunRequest, log: Logger): Promise<StoredRun | ExecutedRun> {
    const { results, settlement } = this.#parts;
    const progress = new Progress();
    try {
      const stored = await results.get(run.instanceUid, run.id);
      return stored ?? (await untilAborted(run.signal, this.#perform(run, request, progress, log)));
    } catch (error) {
      const problem = runProblem(run.signal.aborted ? run.signal.reason : error, log);
      // Whoever has heard of the answer pays for it, or leaving before the receipt would be a free run.
      const heard = ENDED_BY_CLIENT.has(problem.code) ? progress.soFar() : undefined;
      if (heard) return executedRun(run, request, heard);
      const { hold } = request.ticket;
      await settlement.release({ runId: run.id, instanceUid: run.instanceUid, hold }, problem, log);
      throw problem;
    }
  }

  /** A run that ended before, perhaps in another process: says again what it said, and finishes its charge. */
  async replay(run: Run, stored: StoredRun, log: Logger): Promise<RunReply> {
    if (stored.state === 'failed') {
      const { status, code, detail } = stored.problem;
      throw new Problem({ status, code, detail });
    }
    if (stored.output.text !== '') run.append({ type: 'delta', text: stored.output.text });
    return this.#parts.settlement.capture(stored, log);
  }

  async #perform(run: Run, request: RunRequest, progress: Progress, log: Logger): Promise<ExecutedRun> {
    const { ticket } = request;
    const binding = await this.#parts.bindings.forTicket(ticket);
    const { contract, instance } = binding;
    const limits = ticket.limits ?? effectiveLimits(contract, instance.spec.plan);
    if (Buffer.byteLength(request.input) > limits.inputBytes)
      throw runnerProblem('input_too_large', `the input exceeds ${limits.inputBytes} bytes`);
    const stop = this.#startClocks(run, ticket.hold, limits.runSeconds * 1000, log);
    try {
      progress.contract = contract;
      const answer = await this.#answer(run, request, binding, progress, log);
      return executedRun(run, request, { ...answer, contract, seconds: progress.seconds });
    } finally {
      stop();
    }
  }

  #startClocks(run: Run, hold: string, runMs: number, log: Logger): () => void {
    const timer = setTimeout(
      () => run.abort(runnerProblem('run_timeout', `the run exceeded its ${runMs / 1000} s`)),
      runMs,
    );
    const { ledger, settleMs } = this.#parts;
    const unguard = guardHold({ ledger, hold, run, runMs, settleMs, log });
    return () => {
      clearTimeout(timer);
      unguard();
    };
  }

  async #answer(run: Run, request: RunRequest, binding: Binding, progress: Progress, log: Logger): Promise<Answer> {
    const { bindings, secrets, runtimes } = this.#parts;
    const { client, flows } = await runtimes.of(binding);
    const { sha256 } = binding.contract.artifact;
    const [resolved, flow] = await Promise.all([
      resolveGlobals(binding, secrets, () => bindings.workloadNamespace(binding)),
      flows.load(sha256),
    ]);
    run.signal.throwIfAborted();
    const scrubber = new Scrubber([...resolved.secrets, client.secret], [request.token]);
    const attempt = (loaded: Flow): Promise<Answer> => {
      const started = client.run({
        flowId: loaded.id,
        input: request.input,
        session: scopedSession(run.instanceUid, request.session, run.id),
        globals: resolved.globals,
        signal: run.signal,
      });
      return readAnswer(run, loaded, started, scrubber, progress, log).catch((error: unknown) => {
        throw error instanceof RuntimeError ? error.scrubbed(scrubber) : error;
      });
    };
    try {
      return await attempt(flow);
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'flow_not_found') throw error;
      flows.forget(sha256);
      return await attempt(await flows.load(sha256));
    }
  }
}

/** Codes with which a client ends a run: it left under Abort, or cancelled. */
const ENDED_BY_CLIENT: ReadonlySet<string> = new Set(['client_gone', 'run_cancelled']);

interface Answer {
  text: string;
  usage: FlowReading['usage'];
}

/** What is to be charged: the answer, what it used, and how long it took. */
interface Performed extends Answer {
  contract: Contract;
  seconds: number;
}

/** How far a run has come: what its client has heard, and what the runtime has reported by then. */
class Progress {
  contract: Contract | undefined;
  reading: FlowReading | undefined;
  /** Already scrubbed, already told. */
  text = '';
  readonly #startedAt = performance.now();

  /** Begun seconds since the start. */
  get seconds(): number {
    return Math.ceil((performance.now() - this.#startedAt) / 1000);
  }

  /** Undefined while nothing of the answer was told. */
  soFar(): Performed | undefined {
    const { contract, reading, text, seconds } = this;
    if (contract === undefined || reading === undefined || text === '') return undefined;
    return { text, usage: reading.usage, contract, seconds };
  }
}

function executedRun(run: Run, { ticket }: RunRequest, performed: Performed): ExecutedRun {
  const usage = countedUsage(performed.contract, performed.usage, performed.seconds);
  return {
    runId: run.id,
    instanceUid: run.instanceUid,
    hold: ticket.hold,
    output: { text: performed.text },
    usage,
    lines: priceLines(performed.contract, usage),
  };
}

async function readAnswer(
  run: Run,
  flow: Flow,
  events: ReturnType<RuntimeClient['run']>,
  scrubber: Scrubber,
  progress: Progress,
  log: Logger,
): Promise<Answer> {
  const reading = new FlowReading(flow);
  progress.reading = reading;
  const scrub = scrubber.stream();
  let streamed = '';
  let ended = false;
  for await (const event of events) {
    run.begin();
    for (const signal of reading.take(event)) {
      if (signal.type === 'failed') throw flowFailure(signal, scrubber, log);
      if (signal.type === 'ended') ended = true;
      else {
        const told = tell(run, signal, scrub, scrubber);
        streamed += told;
        progress.text += told;
      }
    }
    if (ended) break;
  }
  if (!ended) throw new RuntimeError('runtime_error', 'the stream ended without its end event');
  if (reading.text === undefined) throw runnerProblem('runtime_error', 'the flow ended without an answer');
  const text = scrubber.text(reading.text);
  const rest = scrub.end();
  streamed += rest;
  // A flow that streams nothing, or less than its answer, still gives listeners all of it.
  const missing = rest + (text.startsWith(streamed) ? text.slice(streamed.length) : '');
  if (missing !== '') run.append({ type: 'delta', text: missing });
  return { text, usage: reading.usage };
}

/** Passes a signal on to listeners; returns the text they got. */
function tell(
  run: Run,
  signal: Extract<FlowSignal, { type: 'delta' | 'tool' }>,
  scrub: ScrubStream,
  scrubber: Scrubber,
): string {
  if (signal.type === 'tool') {
    run.append({ ...signal, name: scrubber.text(signal.name) });
    return '';
  }
  const text = scrub.push(signal.text);
  if (text !== '') run.append({ type: 'delta', text });
  return text;
}

/** Longest error text of a flow that is kept in the log. */
const FLOW_ERROR_MAX_CHARS = 4_000;

/** What a component says may hold tracebacks and file paths: clients learn which one failed, the log what it said. */
function flowFailure(signal: Extract<FlowSignal, { type: 'failed' }>, scrubber: Scrubber, log: Logger): Problem {
  log.warn(
    { vertex: signal.vertex, error: scrubber.text(signal.error).slice(0, FLOW_ERROR_MAX_CHARS) },
    'the flow failed',
  );
  const where = signal.vertex === undefined ? 'the flow failed' : `the flow failed in ${scrubber.text(signal.vertex)}`;
  return runnerProblem('runtime_error', where);
}

/** One run, the tokens that the runtime reported, and the time where the contract prices it. */
function countedUsage(contract: Contract, tokens: Answer['usage'], seconds: number): Usage[] {
  const usage: Usage[] = [{ source: 'Run', units: 1 }];
  if (contract.dimensions.some((dimension) => dimension.source === 'RuntimeSecond'))
    usage.push({ source: 'RuntimeSecond', units: seconds });
  if (tokens) {
    usage.push({ source: 'InputToken', units: tokens.input }, { source: 'OutputToken', units: tokens.output });
  }
  return usage;
}

/** architecture.md section 7: one Instance's conversation can never be reached through another's. */
function scopedSession(instanceUid: string, session: string | undefined, runId: string): string {
  const name = session === undefined ? `run:${runId}` : `session:${session}`;
  return createHmac('sha256', instanceUid).update(name).digest('hex');
}

/** Rejects as soon as the signal aborts, whatever the work is waiting for. */
async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => undefined);
  }
}

const RUNTIME_DETAILS: Record<RuntimeError['code'], string> = {
  runtime_unavailable: 'the runtime does not answer; try again',
  runtime_error: 'the runtime failed while it executed the flow',
  artifact_rejected: 'the runtime refuses to build the flow of this version',
  flow_not_found: 'the runtime lost the flow; try again',
  output_too_large: 'the flow produced more than an answer may hold',
};

/** Turns whatever stopped a run into what its client may know. The cause goes to the log. */
export function runProblem(error: unknown, log: Logger): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof RuntimeError) {
    log.warn({ err: error, code: error.code }, 'the runtime failed');
    const code = error.code === 'flow_not_found' ? 'runtime_unavailable' : error.code;
    return runnerProblem(code, RUNTIME_DETAILS[error.code], { cause: error });
  }
  log.error({ err: error }, 'the run failed on our side');
  return new Problem({ status: 500, code: 'internal', detail: 'something failed on our side', cause: error });
}
