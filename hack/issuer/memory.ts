/** Sessions, grants and codes that the embedded issuer keeps at once; the oldest go first. */
const MAX_ENTRIES = 5_000;

interface Entry {
  payload: Record<string, unknown>;
  expiresAtMs: number;
}

/**
 * The storage adapter that `oidc-provider` asks for, one per model over one map. Giving our own is
 * also the documented way to silence its notice about the built-in one. What is in it ends with the
 * process: signed access tokens do not need it, browser sessions log in anew.
 */
export function memoryAdapter(clock: () => number): (model: string) => MemoryModel {
  const entries = new Map<string, Entry>();
  return (model) => new MemoryModel(model, entries, clock);
}

export class MemoryModel {
  readonly #model: string;
  readonly #entries: Map<string, Entry>;
  readonly #clock: () => number;

  constructor(model: string, entries: Map<string, Entry>, clock: () => number) {
    this.#model = model;
    this.#entries = entries;
    this.#clock = clock;
  }

  async upsert(id: string, payload: Record<string, unknown>, expiresIn?: number): Promise<void> {
    const key = this.#key(id);
    this.#entries.delete(key);
    const expiresAtMs = expiresIn === undefined ? Number.POSITIVE_INFINITY : this.#clock() + expiresIn * 1000;
    this.#entries.set(key, { payload, expiresAtMs });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) break;
      this.#entries.delete(oldest);
    }
  }

  async find(id: string): Promise<Record<string, unknown> | undefined> {
    return this.#live(this.#key(id));
  }

  async findByUid(uid: string): Promise<Record<string, unknown> | undefined> {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(userCode: string): Promise<Record<string, unknown> | undefined> {
    return this.#findBy('userCode', userCode);
  }

  async consume(id: string): Promise<void> {
    const payload = this.#live(this.#key(id));
    if (payload) payload.consumed = Math.floor(this.#clock() / 1000);
  }

  async destroy(id: string): Promise<void> {
    this.#entries.delete(this.#key(id));
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    for (const [key, { payload }] of this.#entries) if (payload.grantId === grantId) this.#entries.delete(key);
  }

  #key(id: string): string {
    return `${this.#model}:${id}`;
  }

  #live(key: string): Record<string, unknown> | undefined {
    const entry = this.#entries.get(key);
    if (entry && entry.expiresAtMs > this.#clock()) return entry.payload;
    this.#entries.delete(key);
    return undefined;
  }

  #findBy(field: string, value: string): Record<string, unknown> | undefined {
    for (const [key, { payload }] of this.#entries) {
      if (key.startsWith(`${this.#model}:`) && payload[field] === value) return this.#live(key);
    }
    return undefined;
  }
}
