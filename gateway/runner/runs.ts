import type { Logger } from '../../config/log.ts';
import type { RunTicket } from '../ticket.ts';
import type { Executor, RunRequest } from './execute.ts';
import { runProblem } from './execute.ts';
import type { RunnerMetrics } from './metrics.ts';
import { runnerProblem } from './problems.ts';
import type { Results } from './results.ts';
import { Run, type RunOutcome } from './run.ts';
import type { RunReply } from './settle.ts';

/** Runs in progress in one process; each holds a connection to the runtime and up to an answer of text. */
const RUNNING_MAX = 2_000;
/** A run that has ended stays this long, so that a retry finds it without the blob store. */
const ENDED_KEPT_MS = 60_000;

export interface RunBookParts {
  executor: Executor;
  results: Results;
  metrics: RunnerMetrics;
  log: Logger;
}

/** Every run of this process by its id: started once, attached to ever after. */
export class RunBook {
  readonly #parts: RunBookParts;
  readonly #runs = new Map<string, Run>();
  #running = 0;
  #closing = false;

  constructor(parts: RunBookParts) {
    this.#parts = parts;
  }

  /**
   * Starts the run, or finds it when it has been started before.
   *
   * @throws Problem `run_not_found` (another Instance's), `too_many_runs`, `shutting_down`
   */
  start(request: RunRequest, abortWhenAlone: boolean): Run {
    const { ticket } = request;
    const known = this.#own(ticket);
    if (known) return known;
    const { executor } = this.#parts;
    return this.#begin(ticket, abortWhenAlone, (run, log) => executor.execute(run, request, log));
  }

  /** A run of this process, or one whose result is stored. Undefined when there is none. @throws Problem `run_not_found` */
  async find(ticket: RunTicket): Promise<Run | undefined> {
    const known = this.#own(ticket);
    if (known) return known;
    const stored = await this.#parts.results.get(ticket.instance.uid, ticket.runId);
    if (!stored) return undefined;
    const { executor } = this.#parts;
    // Two readers at once: the first one's run is there by now.
    return this.#own(ticket) ?? this.#begin(ticket, false, (run, log) => executor.replay(run, stored, log));
  }

  /** A run in progress; undefined when it is over or elsewhere. @throws Problem `run_not_found` */
  running(ticket: RunTicket): Run | undefined {
    const run = this.#own(ticket);
    return run?.ended ? undefined : run;
  }

  /** Takes no new runs and waits for those in progress: each is bounded by its contract. */
  async drain(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#runs.values()].map((run) => run.outcome));
  }

  #own(ticket: RunTicket): Run | undefined {
    const run = this.#runs.get(ticket.runId);
    if (run && run.instanceUid !== ticket.instance.uid)
      throw runnerProblem('run_not_found', 'this Instance has no such run');
    return run;
  }

  #begin(ticket: RunTicket, abortWhenAlone: boolean, work: (run: Run, log: Logger) => Promise<RunReply>): Run {
    if (this.#closing) throw runnerProblem('shutting_down', 'this runner is shutting down; try again');
    if (this.#running >= RUNNING_MAX) throw runnerProblem('too_many_runs', 'this runner is busy; try again');
    const run = new Run({ id: ticket.runId, instanceUid: ticket.instance.uid, abortWhenAlone });
    this.#runs.set(run.id, run);
    this.#running++;
    this.#parts.metrics.running.set(this.#running);
    void this.#carryOut(run, ticket, work);
    return run;
  }

  async #carryOut(run: Run, ticket: RunTicket, work: (run: Run, log: Logger) => Promise<RunReply>): Promise<void> {
    const { metrics } = this.#parts;
    const log = this.#parts.log.child(runFields(ticket));
    const stop = metrics.duration.startTimer();
    let outcome: RunOutcome;
    try {
      outcome = { ok: true, reply: await work(run, log) };
    } catch (error) {
      outcome = { ok: false, problem: runProblem(error, log) };
    }
    stop();
    metrics.runs.inc({ outcome: outcome.ok ? 'succeeded' : outcome.problem.code });
    log.info({ outcome: outcome.ok ? 'succeeded' : outcome.problem.code }, 'run ended');
    this.#running--;
    metrics.running.set(this.#running);
    run.finish(outcome);
    // A settlement that is still open is tried again by whoever asks next, so it is not kept.
    if (!outcome.ok && outcome.problem.code === 'settlement_unavailable') this.#runs.delete(run.id);
    else setTimeout(() => this.#runs.delete(run.id), ENDED_KEPT_MS).unref();
  }
}

function runFields(ticket: RunTicket): Record<string, unknown> {
  const traceId = ticket.traceparent?.split('-')[1];
  return {
    runId: ticket.runId,
    instance: `${ticket.instance.organization}/${ticket.instance.name}`,
    ...(traceId === undefined ? {} : { traceId }),
  };
}
