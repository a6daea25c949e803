import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../cluster/starting.ts';
import { type OurProcess, startProcess } from './process.ts';

const MAIN = join(import.meta.dirname, '../../ledger/main.ts');

/** A start may meet the trouble that the test makes; a supervisor would try again as well. */
const STARTS = 20;
const PAUSE_MS = 100;

/** A ledger process that a test kills and starts again. */
export class KeptLedger {
  /** Times that it was killed and served again. */
  kills = 0;
  /** Ends that nobody ordered, of a ledger that had served: there must be none. */
  readonly crashes: string[] = [];
  readonly url: string;
  readonly #env: Record<string, string>;
  #process: OurProcess | undefined;
  /** The process that is being ended on purpose. */
  #condemned: OurProcess | undefined;

  private constructor(port: number, env: Record<string, string>) {
    this.url = `http://127.0.0.1:${port}`;
    this.#env = { ...env, GSV_LEDGER_PORT: String(port), GSV_OPS_PORT: '0', GSV_LOG_LEVEL: 'warn' };
  }

  static async start(databaseUrl: string, token: string): Promise<KeptLedger> {
    const ledger = new KeptLedger(await freePort(), { GSV_LEDGER_DATABASE_URL: databaseUrl, GSV_LEDGER_TOKEN: token });
    await ledger.#serve();
    return ledger;
  }

  /** SIGKILL, whatever it is doing, and a new one in its place. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
    await this.#serve();
    this.kills += 1;
  }

  async close(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const ending = this.#process;
    this.#condemned = ending;
    ending?.child.kill(signal);
    await ending?.ended;
  }

  async #serve(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const started = startProcess(MAIN, this.#env);
      this.#process = started;
      if (await served(started, this.url)) {
        void started.ended.then((how) => this.#ended(started, how));
        return;
      }
      await delay(PAUSE_MS);
      if (attempt === STARTS) throw new Error(`the ledger does not start: ${started.text().slice(-2000)}`);
    }
  }

  #ended(process: OurProcess, how: number | string): void {
    if (process !== this.#condemned) this.crashes.push(`${how}: ${process.text().slice(-2000)}`);
  }
}

const POLL_MS = 20;

/** False when it ended instead. */
async function served({ child, ended }: OurProcess, url: string): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    const live = await fetch(`${url}/livez`).then(
      (reply) => reply.ok,
      () => false,
    );
    if (live) return true;
    await delay(POLL_MS);
  }
  await ended;
  return false;
}
