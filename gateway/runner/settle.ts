import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../config/log.ts';
import type { Problem } from '../../config/problem.ts';
import type { PricedLine, Usage } from '../../crds/contract.ts';
import { type CaptureReply, type LedgerClient, LedgerError } from '../../ledger/client.ts';
import type { RunnerMetrics } from './metrics.ts';
import { runnerProblem } from './problems.ts';
import { Results, type StoredSuccess } from './results.ts';

/** The public reply of a run (interfaces.md, Edge). */
export interface RunReply {
  runId: string;
  output: { text: string };
  usage: Usage[];
  receipt: {
    id: string;
    amountMicrocredits: number;
    lines: { dimension: string; units: number; amountMicrocredits: number }[];
  };
  /** What the wallet has left, from the same ledger call. */
  balanceMicrocredits: number;
}

/** A run that has been executed and is to be charged. */
export interface ExecutedRun {
  runId: string;
  instanceUid: string;
  hold: string;
  output: { text: string };
  usage: Usage[];
  lines: PricedLine[];
}

export interface SettlementOptions {
  ledger: LedgerClient;
  results: Results;
  metrics: RunnerMetrics;
  /**
   * How long a capture is tried again after the run, in milliseconds. Holds outlive run time by at
   * least this much; see `holds.ts`.
   */
  settleMs: number;
}

const RETRY_MS = 500;

/** Ends holds: exactly one capture for what was used, or one void. */
export class Settlement {
  readonly #options: SettlementOptions;

  constructor(options: SettlementOptions) {
    this.#options = options;
  }

  /**
   * Stores the result, then captures under `run:<runId>`. In this order a crash in between loses
   * nothing: whoever finds the result captures again under the same key.
   *
   * @throws Problem `settlement_unavailable`, `hold_not_open`
   */
  async charge(run: ExecutedRun, log: Logger): Promise<RunReply> {
    const { runId, instanceUid, hold, output, usage, lines } = run;
    try {
      await this.#options.results.put(instanceUid, runId, { state: 'succeeded', hold, output, usage, lines });
    } catch (error) {
      // The buyer gets the answer in this reply; only reading it back later is lost.
      log.error({ err: error }, 'the result could not be stored');
    }
    return this.capture(run, log);
  }

  /** Captures, or learns what the first capture said. */
  async capture(run: ExecutedRun | StoredSuccess, log: Logger): Promise<RunReply> {
    const reply = await this.#captureWithin(run, log);
    return {
      runId: run.runId,
      output: run.output,
      usage: run.usage,
      receipt: {
        id: reply.receipt,
        amountMicrocredits: reply.amount,
        lines: reply.lines.map(({ dimension, units, amount }) => ({ dimension, units, amountMicrocredits: amount })),
      },
      balanceMicrocredits: reply.available,
    };
  }

  /** Releases the hold of a failed run, and keeps what the failure was. Never throws. */
  async release(
    run: { runId: string; instanceUid: string; hold: string },
    problem: Problem,
    log: Logger,
  ): Promise<void> {
    const { runId, instanceUid, hold } = run;
    const { status, code, message: detail } = problem;
    const [voided, kept] = await Promise.allSettled([
      this.#options.ledger.voidHold(hold, { reason: code }, `void:${runId}`),
      this.#options.results.put(instanceUid, runId, { state: 'failed', problem: { status, code, detail } }),
    ]);
    if (kept.status === 'rejected') log.error({ err: kept.reason }, 'the failure could not be stored');
    if (voided.status === 'rejected' && !hasEnded(voided.reason)) {
      this.#options.metrics.unvoided.inc();
      log.warn({ err: voided.reason, hold }, 'the hold could not be voided; it releases at its TTL');
    }
  }

  async #captureWithin(run: ExecutedRun | StoredSuccess, log: Logger): Promise<CaptureReply> {
    const { ledger, settleMs, metrics } = this.#options;
    const resultRef = Results.key(run.instanceUid, run.runId);
    const until = performance.now() + settleMs;
    for (;;) {
      try {
        return await ledger.capture(run.hold, { lines: run.lines, final: true, resultRef }, `run:${run.runId}`);
      } catch (error) {
        if (!(error instanceof LedgerError)) throw error;
        const transient = error.status === 0 || error.status >= 500 || error.status === 429;
        if (transient && performance.now() + RETRY_MS < until) {
          await delay(RETRY_MS);
          continue;
        }
        metrics.unsettled.inc({ reason: error.code });
        log.error({ err: error, hold: run.hold }, 'the run is done but could not be charged');
        throw unsettled(error, transient);
      }
    }
  }
}

function hasEnded(error: unknown): boolean {
  return error instanceof LedgerError && error.code.startsWith('already_');
}

function unsettled(error: LedgerError, transient: boolean): Problem {
  if (hasEnded(error))
    return runnerProblem('hold_not_open', `the hold of the run has ended (${error.code}); start a new run`, {
      cause: error,
    });
  return runnerProblem(
    'settlement_unavailable',
    transient
      ? 'the run is done, but the ledger does not answer; read the run back, or repeat the call'
      : 'the run is done, but the ledger refuses to charge it',
    { cause: error },
  );
}
