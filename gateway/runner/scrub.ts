/** What stands where a secret was. */
export const REDACTED = '[redacted]';

/**
 * Shorter values are not scrubbed: removing every "a" or "on" would shred the output and tell more
 * than it hides. Buyer secrets below this length are refused at the door.
 */
export const SCRUB_MIN_LENGTH = 6;

/** One state of the automaton: the longest suffix of the text that begins some pattern. */
interface State {
  next: Map<number, State>;
  fail: State | undefined;
  /** Length of that suffix: all that a match to come can still cover. */
  depth: number;
  /** Longest pattern that ends here; 0 = none. */
  match: number;
}

/**
 * Removes secret values, and the shapes in which they usually travel, from text: in one pass, in time
 * linear in the text whatever the number of values (Aho-Corasick). Overlapping occurrences become one
 * marker.
 */
export class Scrubber {
  readonly #root: State;

  /** `literals` are removed only as they are: tokens that nobody who could encode them ever sees. */
  constructor(secrets: Iterable<string>, literals: Iterable<string> = []) {
    this.#root = automaton(new Set([...[...secrets].flatMap(secretForms), ...literals]));
  }

  /** A whole text. */
  text(text: string): string {
    const stream = this.stream();
    return stream.push(text) + stream.end();
  }

  /** A text that arrives in pieces; the pieces' borders do not change the result. */
  stream(): ScrubStream {
    return new ScrubStream(this.#root);
  }

  /** Every string in a JSON value, keys included. */
  json<T>(value: T): T {
    return this.#value(value) as T;
  }

  #value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((item) => this.#value(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [this.text(key), this.#value(item)]));
  }
}

/** A redacted stretch, in positions of the whole stream. */
interface Stretch {
  start: number;
  end: number;
  /** The marker has been written; only the rest of the stretch is still to be dropped. */
  marked: boolean;
}

/** Holds back only what could still become a secret: never more than the longest one less a character. */
export class ScrubStream {
  readonly #root: State;
  #state: State;
  /** Text from `#base` on that is not yet released. */
  #held = '';
  #base = 0;
  #position = 0;
  #stretches: Stretch[] = [];

  constructor(root: State) {
    this.#root = root;
    this.#state = root;
  }

  /** Takes a piece and returns what is safe to send. */
  push(piece: string): string {
    this.#held += piece;
    for (let index = 0; index < piece.length; index++) this.#step(piece.charCodeAt(index));
    return this.#release(this.#position - this.#state.depth);
  }

  /** The rest. The stream is over. */
  end(): string {
    this.#state = this.#root;
    return this.#release(this.#position);
  }

  #step(unit: number): void {
    let state: State | undefined = this.#state;
    let next: State | undefined;
    while (state && !next) {
      next = state.next.get(unit);
      state = state.fail;
    }
    this.#state = next ?? this.#root;
    this.#position++;
    if (this.#state.match > 0) this.#redact(this.#position - this.#state.match, this.#position);
  }

  #redact(start: number, end: number): void {
    let stretch: Stretch = { start, end, marked: false };
    for (let last = this.#stretches.at(-1); last && last.end > start; last = this.#stretches.at(-1)) {
      this.#stretches.pop();
      stretch = { start: Math.min(last.start, stretch.start), end, marked: last.marked };
    }
    this.#stretches.push(stretch);
  }

  #release(upTo: number): string {
    let out = '';
    let at = this.#base;
    for (const stretch of this.#stretches) {
      if (stretch.start >= upTo) break;
      if (stretch.start > at) out += this.#held.slice(at - this.#base, stretch.start - this.#base);
      if (!stretch.marked) out += REDACTED;
      stretch.marked = true;
      at = Math.min(stretch.end, upTo);
      stretch.start = at;
    }
    this.#stretches = this.#stretches.filter((stretch) => stretch.end > upTo);
    if (upTo > at) out += this.#held.slice(at - this.#base, upTo - this.#base);
    this.#held = this.#held.slice(upTo - this.#base);
    this.#base = upTo;
    return out;
  }
}

/** The value itself, JSON-escaped, percent-encoded, in hex, and in base64 at every alignment. */
function secretForms(secret: string): string[] {
  if (secret.length < SCRUB_MIN_LENGTH) return [];
  const percent = encodeURIComponent(secret.toWellFormed());
  const hex = Buffer.from(secret).toString('hex');
  const forms = [
    secret,
    JSON.stringify(secret).slice(1, -1),
    percent,
    percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    percent.replaceAll('%20', '+'),
    hex,
    hex.toUpperCase(),
    ...[0, 1, 2].flatMap((offset) => base64At(secret, offset)),
  ];
  return forms.filter((form) => form.length >= SCRUB_MIN_LENGTH);
}

/**
 * The characters of a base64 text that depend on the secret alone when `offset` bytes (mod 3) stand
 * before it: those of the first and last partial groups mix with the neighbours and are left out.
 */
function base64At(secret: string, offset: number): string[] {
  const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)]);
  const from = Math.ceil((offset * 8) / 6);
  const to = Math.floor((bytes.length * 8) / 6);
  const standard = bytes.toString('base64').slice(from, to);
  return [standard, standard.replaceAll('+', '-').replaceAll('/', '_')];
}

function automaton(patterns: Iterable<string>): State {
  const root: State = { next: new Map(), fail: undefined, depth: 0, match: 0 };
  for (const pattern of patterns) {
    let state = root;
    for (let index = 0; index < pattern.length; index++) {
      const unit = pattern.charCodeAt(index);
      let next = state.next.get(unit);
      if (!next) {
        next = { next: new Map(), fail: root, depth: state.depth + 1, match: 0 };
        state.next.set(unit, next);
      }
      state = next;
    }
    state.match = pattern.length;
  }
  linkFailures(root);
  return root;
}

/** Breadth first, so that the state a failure leads to is complete before it is needed. */
function linkFailures(root: State): void {
  const queue = [...root.next.values()];
  for (const state of queue) {
    for (const [unit, child] of state.next) {
      let fallback = state.fail;
      while (fallback && !fallback.next.has(unit)) fallback = fallback.fail;
      child.fail = fallback?.next.get(unit) ?? root;
      child.match = Math.max(child.match, child.fail.match);
      queue.push(child);
    }
  }
}
