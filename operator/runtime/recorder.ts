import { createHash } from 'node:crypto';
import { Counter, type Registry } from 'prom-client';
import type { Logger } from '../../config/log.ts';
import type { EventSpec } from '../../crds/foreign.ts';
import type { Resource } from '../../crds/kinds.ts';
import type { ResourceStore } from '../../crds/store.ts';
import { type Clock, rfc3339 } from './clock.ts';
import { type Happening, happenings } from './happenings.ts';
import type { StatusListener } from './metrics.ts';

/** Events of one object in a row, and one more each so often: client-go's numbers. Then they are dropped. */
const BURST = 25;
const REFILL_MS = 300_000;
/** Objects and series that are remembered, the least recently used go first: client-go's cache. */
const REMEMBERED = 4_096;
/** Events that wait to be written; an API server that is away must not cost memory. Then they are dropped. */
const QUEUE_LIMIT = 1_000;
/** The API server forgets an Event after an hour; a repeat that comes later begins a new series. Milliseconds. */
const SERIES_MS = 3_600_000;
/** What Kubernetes allows. Characters. */
const MESSAGE_LIMIT = 1_024;
/** Of an object's name in its Event's: 253, less a dot and the hash. Characters. */
const NAME_LIMIT = 236;

const COMPONENT = 'gsv-operator';

interface Series {
  name: string;
  first: number;
  last: number;
  count: number;
}

interface Waiting {
  about: Resource<unknown, unknown>;
  happening: Happening;
  series: Series;
}

export interface RecorderOptions {
  store: Pick<ResourceStore, 'apply'>;
  clock: Clock;
  log: Logger;
  /** Name of this process. */
  instance: string;
  registry: Registry;
}

/**
 * Turns written statuses into Kubernetes Events, beside the controllers: it never makes one wait and
 * never fails one. The same happening again is the same Event with a higher count.
 */
export class EventRecorder {
  readonly #options: RecorderOptions;
  readonly #series = new Recent<Series>();
  readonly #budgets = new Recent<{ left: number; at: number }>();
  /** One entry per series, however often it has happened meanwhile. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #counter: Counter<'result'>;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#counter = new Counter({
      name: 'gsv_operator_events_total',
      help: 'Kubernetes Events: written, refused by the API server (failed), or one too many (dropped).',
      labelNames: ['result'],
      registers: [options.registry],
    });
  }

  /** To be told of every status that was written. */
  readonly statusWritten: StatusListener = (before, after) => {
    for (const happening of happenings(before, after)) this.#record(after, happening);
  };

  /** Resolves when nothing waits to be written any more. */
  async idle(): Promise<void> {
    await this.#writing;
  }

  /** Drops what waits; what is being written ends. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting.clear();
    await this.#writing;
  }

  #record(about: Resource<unknown, unknown>, happening: Happening): void {
    if (this.#closed) return;
    const { uid } = about.metadata;
    const id = [uid, happening.type, happening.reason, happening.message].join('\n');
    if (!this.#admitted(uid) || (this.#waiting.size >= QUEUE_LIMIT && !this.#waiting.has(id))) {
      this.#counter.inc({ result: 'dropped' });
      return;
    }
    this.#waiting.set(id, { about, happening, series: this.#counted(id, about.metadata.name) });
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  #admitted(uid: string): boolean {
    const now = this.#options.clock.now();
    const budget = this.#budgets.get(uid) ?? { left: BURST, at: now };
    const refilled = Math.floor((now - budget.at) / REFILL_MS);
    if (refilled > 0) {
      budget.left = Math.min(BURST, budget.left + refilled);
      budget.at += refilled * REFILL_MS;
    }
    this.#budgets.set(uid, budget);
    if (budget.left === 0) return false;
    budget.left -= 1;
    return true;
  }

  #counted(id: string, name: string): Series {
    const now = this.#options.clock.now();
    const known = this.#series.get(id);
    const goesOn = known !== undefined && now - known.last < SERIES_MS;
    const hash = createHash('sha256').update(`${id}\n${now}`).digest('hex').slice(0, 16);
    const series = goesOn ? known : { name: `${name.slice(0, NAME_LIMIT)}.${hash}`, first: now, last: now, count: 0 };
    series.last = now;
    series.count += 1;
    this.#series.set(id, series);
    return series;
  }

  async #write(): Promise<void> {
    // The visit goes on first.
    await new Promise((resolve) => setImmediate(resolve));
    for (const [id, waiting] of this.#waiting) {
      this.#waiting.delete(id);
      try {
        await this.#options.store.apply('Event', this.#document(waiting), { fieldManager: COMPONENT });
        this.#counter.inc({ result: 'written' });
      } catch (error) {
        this.#counter.inc({ result: 'failed' });
        this.#options.log.debug({ err: error, reason: waiting.happening.reason }, 'an Event could not be written');
      }
    }
  }

  #document({ about, happening, series }: Waiting) {
    const { apiVersion, kind, metadata } = about;
    const { name, namespace, uid, resourceVersion } = metadata;
    const spec: EventSpec = {
      involvedObject: {
        apiVersion,
        kind,
        name,
        uid,
        resourceVersion,
        ...(namespace === undefined ? {} : { namespace }),
      },
      ...happening,
      message: happening.message.slice(0, MESSAGE_LIMIT),
      source: { component: COMPONENT },
      firstTimestamp: rfc3339(series.first),
      lastTimestamp: rfc3339(series.last),
      count: series.count,
      reportingComponent: COMPONENT,
      reportingInstance: this.#options.instance,
    };
    // Events of what has no namespace lie in `default`: there kubectl describe looks for them.
    return { metadata: { name: series.name, namespace: namespace ?? 'default' }, spec };
  }
}

/** A bounded memory that forgets what was not used for longest. */
class Recent<V> {
  readonly #entries = new Map<string, V>();

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > REMEMBERED && oldest !== undefined) this.#entries.delete(oldest);
  }
}
