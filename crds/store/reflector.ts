import { setTimeout as delay } from 'node:timers/promises';
import type { Kind, KindMap } from '../kinds.ts';
import { type Key, keyText, type ListOptions, type ResourceCache } from '../store.ts';
import { WatchCache } from './cache.ts';
import type { KubernetesApi, WatchEvent } from './kubernetes-api.ts';
import { ApiError } from './kubernetes-errors.ts';
import { Compactor, fromServer } from './kubernetes-object.ts';

/** Objects per page of a list: what client-go takes. */
export const PAGE_SIZE = 500;
/** A page of many large objects takes the server a while. Milliseconds. */
export const LIST_TIMEOUT_MS = 60_000;
/** An API server sends a bookmark about once a minute; a watch that misses two is taken for dead. Milliseconds. */
const SILENCE_MS = 150_000;
/** The server ends a watch after this, plus up to as much again so that not all end at once. Seconds. */
const WATCH_SECONDS = 300;
/** First pause after a failure; it doubles up to the greatest, and half of it is random. Milliseconds. */
const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 10_000;
/** A watch that ends sooner without a word counts as a failure, or we would turn in a circle. Milliseconds. */
const SHORT_WATCH_MS = 1_000;

/** What a store tells about itself. pino's loggers fit. */
export interface StoreLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ReflectorOptions<K extends Kind> {
  kind: K;
  api: KubernetesApi;
  /** Path of the collection, of one namespace or over all. */
  path: string;
  /** Only objects with these labels, e.g. `a=b,c=d`. */
  labelSelector?: string | undefined;
  log: StoreLog;
  random: () => number;
  silenceMs?: number | undefined;
  pageSize?: number | undefined;
}

interface Page {
  metadata?: { resourceVersion?: string; continue?: string };
  items?: unknown[] | null;
}

/**
 * Keeps a cache of one kind current: list, then watch from the version of the list. Whatever happens
 * to the connection it goes on where it was; when the server no longer knows that version (410) it
 * lists anew, and the difference to the cache finds what was deleted meanwhile.
 */
export class Reflector<K extends Kind> implements ResourceCache<K> {
  readonly synced: Promise<void>;
  readonly #options: ReflectorOptions<K>;
  readonly #cache = new WatchCache<K>([]);
  readonly #compactor = new Compactor();
  readonly #stopping = new AbortController();
  /** Ends the present watch. */
  #interruption = new AbortController();
  /** Those who wait for the next list that begins. */
  #waiting: (() => void)[] = [];
  #markSynced: () => void = () => {};
  /** Where the watch goes on; undefined = list first. */
  #version: string | undefined;
  #failures = 0;
  #expirations = 0;
  /** The server does not know the kind: this is told once, not at every try. */
  #unknown = false;
  /** The pages of the last list grew old before the last of them: then the next comes in one piece. */
  #whole = false;

  constructor(options: ReflectorOptions<K>) {
    this.#options = options;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
    void this.#run();
  }

  get(key: Key): KindMap[K] | undefined {
    return this.#cache.get(key);
  }

  list(options?: ListOptions): KindMap[K][] {
    return this.#cache.list(options);
  }

  onChange(listener: (key: Key) => void): () => void {
    return this.#cache.onChange(listener);
  }

  refresh(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#version = undefined;
      this.#interruption.abort();
    });
  }

  /** Ends the watch. What was seen so far can still be read. */
  stop(): void {
    this.#stopping.abort();
    this.#cache.stop();
    this.#markSynced();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #run(): Promise<void> {
    const { kind, log } = this.#options;
    while (!this.#stopped) {
      try {
        if (this.#version === undefined) {
          await this.#listFor(this.#waiting.splice(0));
          if (this.#unknown) log.warn({ kind }, `watching ${kind}: the API server knows the kind now`);
          this.#unknown = false;
          this.#markSynced();
        }
        if (this.#version !== undefined) await this.#watch(this.#version);
      } catch (error) {
        if (this.#stopped) return;
        if (this.#interruption.signal.aborted) continue;
        const problem = ApiError.of(error);
        if (outdated(problem)) this.#version = undefined;
        if (problem.expired) this.#expirations += 1;
        // A server that says 410 is well again: what went wrong before it came back does not count.
        this.#failures = problem.expired ? this.#expirations : this.#failures + 1;
        this.#tell(problem);
        await this.#pause(problem.retryAfterMs);
      }
    }
  }

  #tell(problem: ApiError): void {
    const { kind, log } = this.#options;
    const fields = { kind, reason: problem.reason, status: problem.status, failures: this.#failures };
    const known = this.#unknown;
    this.#unknown = problem.status === 404;
    if (problem.expired || problem.reason === 'Silent' || (known && this.#unknown)) log.debug(fields, problem.message);
    else if (this.#unknown)
      log.warn(fields, `watching ${kind}: the API server does not know it; is its CRD installed?`);
    else log.warn(fields, `watching ${kind}: ${problem.message}`);
  }

  /** @param waiting told when the list is complete; should it fail, they wait for the next */
  async #listFor(waiting: (() => void)[]): Promise<void> {
    this.#interruption = new AbortController();
    try {
      const version = await this.#list();
      // Whoever has asked meanwhile wants another list.
      this.#version = this.#waiting.length === 0 ? version : undefined;
      this.#whole = false;
      for (const resolve of waiting) resolve();
    } catch (error) {
      this.#waiting.push(...waiting);
      throw error;
    }
  }

  /** Lists all pages into the cache. @returns the version that the list shows */
  async #list(): Promise<string> {
    const seen = new Set<string>();
    let version: string | undefined;
    for await (const { metadata, items } of this.#pages()) {
      version ??= metadata?.resourceVersion;
      for (const item of items ?? []) seen.add(this.#take(item));
    }
    if (version === undefined) throw new ApiError(0, 'Malformed', 'the list states no resourceVersion');
    await turn();
    // What the server no longer lists was deleted while we did not look.
    for (const { metadata } of this.#cache.list()) {
      if (!seen.has(keyText(metadata))) this.#cache.push(metadata, undefined);
    }
    await turn();
    return version;
  }

  async *#pages(): AsyncGenerator<Page> {
    const { api, path, labelSelector, pageSize = PAGE_SIZE } = this.#options;
    const get = (query: Record<string, string | number | undefined>): Promise<Page> =>
      api.call('GET', path, { query, timeoutMs: LIST_TIMEOUT_MS, repeat: 'always' }) as Promise<Page>;
    let next: string | undefined;
    do {
      try {
        const page: Page = await get({ limit: this.#whole ? undefined : pageSize, labelSelector, continue: next });
        next = page.metadata?.continue || undefined;
        yield page;
      } catch (error) {
        if (next !== undefined && error instanceof ApiError && error.expired) this.#whole = true;
        throw error;
      }
    } while (next !== undefined && !this.#stopped);
  }

  async #watch(from: string): Promise<void> {
    const { api, path, labelSelector, random, silenceMs = SILENCE_MS } = this.#options;
    const started = Date.now();
    const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + random()));
    const query = { resourceVersion: from, labelSelector, allowWatchBookmarks: true, timeoutSeconds };
    const { signal } = this.#interruption;
    for await (const event of api.watch(path, query, silenceMs, signal)) {
      if (this.#stopped || signal.aborted) return;
      this.#version = this.#follow(event);
      this.#failures = 0;
      this.#expirations = 0;
    }
    if (signal.aborted) return;
    if (Date.now() - started < SHORT_WATCH_MS && this.#version === from) {
      throw new ApiError(0, 'Short', 'the watch ended at once');
    }
  }

  /** @returns the version up to which everything is known now */
  #follow({ type, object }: WatchEvent): string {
    if (type === 'ERROR') throw ApiError.event(object);
    const { metadata } = object as { metadata?: Partial<KindMap[K]['metadata']> };
    const { resourceVersion, name, namespace } = metadata ?? {};
    if (resourceVersion === undefined) throw new ApiError(0, 'Malformed', 'an event states no resourceVersion');
    if (type === 'ADDED' || type === 'MODIFIED') this.#take(object);
    if (type === 'DELETED' && name !== undefined) {
      this.#cache.push(namespace === undefined ? { name } : { namespace, name }, undefined);
    }
    return resourceVersion;
  }

  /** @returns the key of the object */
  #take(given: unknown): string {
    const { kind } = this.#options;
    const { metadata } = given as KindMap[K];
    if (this.#cache.get(metadata)?.metadata.resourceVersion !== metadata.resourceVersion) {
      this.#cache.push(metadata, this.#compactor.compact(fromServer(kind, given)));
    }
    return keyText(metadata);
  }

  async #pause(askedMs = BACKOFF_MS * 2 ** (this.#failures - 1)): Promise<void> {
    const ms = Math.min(BACKOFF_MAX_MS, askedMs) * (0.5 + this.#options.random() / 2);
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }
}

/** Whether only a new list helps: the version is too old, one that this server has not reached, or the kind is gone. */
function outdated(error: ApiError): boolean {
  if (error.expired || error.status === 404 || error.reason === 'Malformed') return true;
  return error.causes.some((cause) => cause.reason === 'ResourceVersionTooLarge');
}

/** The cache takes changes in with the next turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
