import { Gauge, type Registry } from 'prom-client';
import type { Logger } from '../../config/log.ts';
import type { Clock } from '../runtime/clock.ts';
import { type AuditDoors, audit } from './audit.ts';
import { AUDITED, type Finding } from './compare.ts';

/** A visit ends within this time, or it waits for something that is away. */
const SECOND_LOOK_MS = 30_000;
/** A report names so many; the gauge counts them all. */
const MAX_LINES = 100;

export interface AuditWorkerOptions {
  doors: AuditDoors;
  /** Milliseconds between two reports. */
  everyMs: number;
  clock: Clock;
  log: Logger;
  registry: Registry;
  /** False: another replica leads, and reports. */
  leads?: () => boolean;
}

/** The periodic report: one log line for each finding, and a gauge by kind. It repairs nothing. */
export class AuditWorker {
  readonly #options: AuditWorkerOptions;
  readonly #orphans: Gauge<'kind'>;
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(options: AuditWorkerOptions) {
    this.#options = options;
    this.#orphans = new Gauge({
      name: 'gsv_audit_orphans',
      help: 'What the last audit found to belong to nothing, or to be missing, by kind.',
      labelNames: ['kind'],
      registers: [options.registry],
    });
  }

  start(): { close(): void } {
    this.#plan();
    return {
      close: () => {
        this.#closed = true;
        this.#cancel();
      },
    };
  }

  #plan(): void {
    if (this.#closed) return;
    this.#cancel = this.#options.clock.after(this.#options.everyMs, () => void this.#report());
  }

  async #report(): Promise<void> {
    const { doors, clock, log, leads = () => true } = this.#options;
    const pause = (): Promise<void> =>
      new Promise((done) => {
        this.#cancel = clock.after(SECOND_LOOK_MS, done);
      });
    try {
      if (leads()) this.#tell(await audit(doors, pause));
    } catch (error) {
      // What is away is reported by those who need it; an audit of a part would be wrong.
      log.warn({ err: error }, 'no audit this time');
    }
    this.#plan();
  }

  #tell(findings: readonly Finding[]): void {
    const { log } = this.#options;
    for (const each of AUDITED) this.#orphans.set({ kind: each }, findings.filter(({ kind }) => kind === each).length);
    for (const finding of findings.slice(0, MAX_LINES)) log.warn({ ...finding }, 'audit finding');
    log.info({ findings: findings.length }, 'audit ended');
  }
}
