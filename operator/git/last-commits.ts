import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import type { Place } from './history.ts';

/** Then a walk is given up, and with it what it has found: a start asks for everything within seconds. Milliseconds. */
const IDLE_MS = 5_000;

/**
 * Finds the last commit that touched a path. One walk back from the tip answers everybody: it goes only as far as
 * somebody's path is still missing, waits there for the next question, and goes on. A start over 10,000 Instances
 * asks in many small batches, and a walk for each would read the same history again and again.
 */
export class LastCommits {
  readonly #place: Place;
  #walk: Walk | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(place: Place) {
    this.#place = place;
  }

  /**
   * The last commit up to `tip` that touched any of a group's paths. A group that no commit touched is absent
   * from the answer. One question at a time.
   */
  async find(tip: string, groups: ReadonlyMap<string, readonly string[]>): Promise<Map<string, string>> {
    clearTimeout(this.#idle);
    if (this.#walk?.tip !== tip) this.forget();
    this.#walk ??= new Walk(this.#place, tip);
    const found = new Map<string, string>();
    for (const [group, paths] of groups) {
      const commit = await this.#walk.last(paths);
      if (commit !== undefined) found.set(group, commit);
    }
    this.#idle = setTimeout(() => this.forget(), IDLE_MS).unref();
    return found;
  }

  /** The next question begins anew. */
  forget(): void {
    clearTimeout(this.#idle);
    this.#walk?.end();
    this.#walk = undefined;
  }
}

class Walk {
  readonly tip: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #chunks: AsyncIterator<string>;
  /** Newest first. */
  readonly #commits: string[] = [];
  /** Files and folders that were touched up to where it stands, each with the place of the newest commit. */
  readonly #seen = new Map<string, number>();
  #rest = '';

  constructor({ program, gitDirectory }: Place, tip: string) {
    this.tip = tip;
    const args = ['log', '--no-renames', '--name-only', '--format=commit %H', '--stdin'];
    this.#child = program.start([`--git-dir=${gitDirectory}`, ...args]);
    this.#child.stdin.on('error', () => undefined);
    this.#child.on('error', () => undefined); // A missing program shows as an empty answer here and as an error elsewhere.
    this.#child.stderr.resume();
    this.#chunks = this.#child.stdout.setEncoding('utf8')[Symbol.asyncIterator]() as AsyncIterator<string>;
    this.#child.stdin.end(`${tip}\n`);
  }

  /** Of several paths the one that was touched last counts. */
  async last(paths: readonly string[]): Promise<string | undefined> {
    // What is seen already is newer than all that is not.
    while (!paths.some((path) => this.#seen.has(path)) && (await this.#goOn()));
    return this.#commits[Math.min(...paths.map((path) => this.#seen.get(path) ?? Number.POSITIVE_INFINITY))];
  }

  end(): void {
    this.#child.kill();
  }

  async #goOn(): Promise<boolean> {
    const { done, value } = await this.#chunks.next().catch(() => ({ done: true, value: '' }));
    if (done) return false;
    const lines = (this.#rest + value).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('commit ')) this.#commits.push(line.slice('commit '.length));
      else this.#see(line);
    }
    return true;
  }

  /** A folder that is known has known parents. */
  #see(path: string): void {
    for (let at = path; at !== '' && !this.#seen.has(at); at = at.slice(0, Math.max(0, at.lastIndexOf('/'))))
      this.#seen.set(at, this.#commits.length - 1);
  }
}
