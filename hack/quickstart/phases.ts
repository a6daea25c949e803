/** The way of an order, in the order in which a buyer waits for it. */
export const PHASES = [
  'order',
  'credits',
  'accepted',
  'funded',
  'secrets',
  'committed',
  'synced',
  'ready',
  'run',
  'receipt',
] as const;
export type Phase = (typeof PHASES)[number];

/** Why the quickstart did not get to the receipt. `start` = before the order was sent. */
export class PhaseError extends Error {
  readonly phase: Phase | 'start';
  readonly code: string;
  constructor(phase: PhaseError['phase'], code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PhaseError';
    this.phase = phase;
    this.code = code;
  }
}

export interface PhaseTime {
  name: Phase;
  /** Milliseconds since the phase before ended. */
  ms: number;
}

/** Takes the time of each phase as it ends. */
export class Stopwatch {
  readonly phases: PhaseTime[] = [];
  #stopped = false;
  #last = performance.now();
  readonly #report: (phase: PhaseTime, detail: string) => void;

  constructor(report: (phase: PhaseTime, detail: string) => void) {
    this.#report = report;
  }

  /** The clock of the first phase starts now. */
  start(): void {
    this.#last = performance.now();
  }

  /** Nothing ends any more: what an interruption left under way must not speak after the last line. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * @param at when the phase ended (RFC 3339), where somebody noted it; else it ends now. What a repeat
   * finds done long ago counts as no time, and nothing ends in the future.
   */
  end(name: Phase, detail: string, at?: string): void {
    if (this.#stopped) return;
    const now = performance.now();
    const noted = at === undefined ? now : Date.parse(at) - performance.timeOrigin;
    const ended = Math.min(now, Math.max(this.#last, noted));
    const phase = { name, ms: Math.round(ended - this.#last) };
    this.#last = ended;
    this.phases.push(phase);
    this.#report(phase, detail);
  }
}
