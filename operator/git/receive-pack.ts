import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { GitError } from './errors.ts';
import type { GitProgram } from './program.ts';
import { remoteFailure } from './words.ts';

/** Four hex digits of a packet's length count themselves. */
const HEAD_BYTES = 4;
/** Without these the remote's words or its verdict would be missing; every git since 2.0 has them. */
const NEEDED = ['report-status', 'side-band-64k'] as const;
/** Bands of side-band-64k: the report, words for a person, the words of a fatal error. */
const REPORT = 1;
const WORDS = 2;
/** For the last words of one that was ended; a process of its own may hold its pipes longer. Milliseconds. */
const LAST_WORDS_MS = 2_000;
/** What is kept of the words of hooks. Bytes. */
const MAX_WORDS = 16_384;

/** What the remote says about one push. */
export interface Verdict {
  accepted: boolean;
  /** Why not, in the remote's short form, e.g. `pre-receive hook declined`. */
  refusal: string;
  /** What it printed meanwhile. */
  words: string;
}

/**
 * One conversation with the `git receive-pack` of a remote on this machine: the same program with the same
 * hooks, checks and locks that `git push` would start, without the three processes around it. The remote
 * compares and swaps: it moves the branch only if that still stands where the command says.
 */
export class ReceivePack {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #packets: Packets;
  readonly #timer: NodeJS.Timeout;
  readonly #closed: Promise<unknown>;
  readonly #advertised: Promise<Map<string, string>>;
  #stderr = '';
  #late = false;

  constructor(program: GitProgram, path: string) {
    this.#child = program.startFarEnd(['receive-pack', '--end-of-options', path]);
    this.#timer = setTimeout(() => this.#giveUp(), program.timeoutMs);
    this.#child.stdin.on('error', () => undefined); // The end of its output tells why.
    this.#child.on('error', (error) => this.#packets.fail(program.failure(error, 'git receive-pack')));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_WORDS);
    });
    this.#closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#packets = new Packets(this.#child.stdout);
    this.#advertised = this.#readRefs();
    this.#advertised.catch(() => undefined); // Whoever needs it awaits it.
  }

  /** The commit of a ref at the start of the conversation. @throws GitError `remote_unreachable` */
  async tip(ref: string): Promise<string | undefined> {
    return (await this.#advertised).get(ref);
  }

  /**
   * Asks to move `ref` from `base` to `commit`, with the pack of what is new.
   *
   * @throws GitError `remote_unreachable`; whatever GitError the pack itself throws
   */
  async push(ref: string, base: string | undefined, commit: string, pack: AsyncIterable<Buffer>): Promise<Verdict> {
    await this.#advertised;
    const nothing = '0'.repeat(commit.length);
    const command = `${base ?? nothing} ${commit} ${ref}\0 ${NEEDED.join(' ')} quiet object-format=sha1`;
    this.#child.stdin.write(`${packet(command)}0000`);
    // A remote that refuses early closes its end; its verdict tells more than the broken pipe.
    const sent = pipeline(pack, this.#child.stdin).catch((error: Error) => error);
    try {
      const verdict = await this.#readVerdict(ref);
      const broken = verdict.accepted ? undefined : await sent;
      if (broken instanceof GitError) throw broken; // The remote only says that the pack is torn.
      return verdict;
    } catch (error) {
      const broken = await sent;
      throw await this.#failure('pushing', broken instanceof GitError ? broken : error);
    } finally {
      this.end();
    }
  }

  /** Nothing more is wanted. */
  end(): void {
    clearTimeout(this.#timer);
    if (!this.#child.stdin.writableEnded) this.#child.stdin.end('0000');
    // What is left unread would keep its pipe open for ever.
    void this.#advertised.catch(() => undefined).then(() => this.#packets.drain());
  }

  async #readRefs(): Promise<Map<string, string>> {
    const refs = new Map<string, string>();
    try {
      for (let line = await this.#packets.next(); line !== undefined; line = await this.#packets.next()) {
        const [ref = '', capabilities] = line.toString('utf8').trimEnd().split('\0');
        if (ref.startsWith('ERR ')) throw new Error(ref.slice('ERR '.length));
        if (capabilities !== undefined && !NEEDED.every((word) => capabilities.split(' ').includes(word)))
          throw new Error(`it lacks ${NEEDED.join(' or ')}`);
        const [oid = '', name = ''] = ref.split(' ');
        refs.set(name, oid);
      }
      return refs;
    } catch (error) {
      throw await this.#failure('reading the remote', error);
    }
  }

  async #readVerdict(ref: string): Promise<Verdict> {
    let report = Buffer.alloc(0);
    let words = '';
    for (let frame = await this.#packets.next(); frame !== undefined; frame = await this.#packets.next()) {
      if (frame[0] === REPORT) report = Buffer.concat([report, frame.subarray(1)]);
      else if (frame[0] === WORDS) words = (words + frame.toString('utf8', 1)).slice(-MAX_WORDS);
      else throw new Error(frame.toString('utf8', 1));
      if (report.includes('0000', Math.max(0, report.length - HEAD_BYTES))) break;
    }
    const lines = reportLines(report);
    if (lines.length === 0) throw new Error('the connection ended before the verdict');
    if (lines.includes(`ok ${ref}`)) return { accepted: true, refusal: '', words };
    const unpack = lines.find((line) => line.startsWith('unpack ') && line !== 'unpack ok');
    const refused = lines.find((line) => line.startsWith(`ng ${ref} `))?.slice(`ng ${ref} `.length);
    return { accepted: false, refusal: [unpack, refused].filter(Boolean).join(', '), words };
  }

  #giveUp(): void {
    this.#late = true;
    this.#child.kill('SIGKILL');
  }

  /** Its last words may come after the end of its output. */
  async #failure(what: string, error: unknown): Promise<GitError> {
    this.end();
    this.#child.kill();
    this.#child.stdout.destroy(); // Nobody reads it any more, and unread it would never close.
    await Promise.race([this.#closed, delay(LAST_WORDS_MS, undefined, { ref: false })]);
    if (error instanceof GitError) return error;
    return remoteFailure(what, { stderr: `${this.#stderr}\n${(error as Error).message}`, late: this.#late });
  }
}

/** Splits a stream into pkt-lines: undefined for a flush packet. */
class Packets {
  readonly #chunks: AsyncIterator<Buffer>;
  #buffer: Buffer = Buffer.alloc(0);
  #failure: GitError | undefined;

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  fail(error: GitError): void {
    this.#failure ??= error;
  }

  async next(): Promise<Buffer | undefined> {
    const length = Number.parseInt((await this.#take(HEAD_BYTES)).toString('latin1'), 16);
    if (length === 0) return undefined;
    if (!(length >= HEAD_BYTES)) throw new Error('the remote does not speak the protocol of git');
    return this.#take(length - HEAD_BYTES);
  }

  /** Reads to the end, for nobody. */
  async drain(): Promise<void> {
    try {
      while (!(await this.#chunks.next()).done);
    } catch {
      // The end, too.
    }
  }

  async #take(bytes: number): Promise<Buffer> {
    while (this.#buffer.length < bytes) {
      const { done, value } = await this.#chunks.next();
      if (done) throw this.#failure ?? new Error('the connection ended');
      this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value]);
    }
    const taken = this.#buffer.subarray(0, bytes);
    this.#buffer = this.#buffer.subarray(bytes);
    return taken;
  }
}

function packet(text: string): string {
  return (Buffer.byteLength(text) + HEAD_BYTES).toString(16).padStart(HEAD_BYTES, '0') + text;
}

/** The report is a sequence of pkt-lines of its own. */
function reportLines(report: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at + HEAD_BYTES <= report.length; ) {
    const length = Number.parseInt(report.toString('latin1', at, at + HEAD_BYTES), 16);
    if (!(length > HEAD_BYTES)) break;
    lines.push(report.toString('utf8', at + HEAD_BYTES, at + length).trimEnd());
    at += length;
  }
  return lines;
}
