import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Who says a message of the PostgreSQL protocol. */
type Side = 'client' | 'server';

/** A message between a client and PostgreSQL, as https://www.postgresql.org/docs/18/protocol-message-formats.html names it. */
export interface Message {
  from: Side;
  /** `Bind`, `DataRow`, … */
  name: string;
  /** Process id of the connection's backend, once it has said it. */
  backend: number | undefined;
}

/** Where a connection is cut: before a message is passed on, or once it has been. */
export type CutSide = 'before' | 'after';

/** Asked at every message; the message waits for the answer. */
export type Meet = (message: Message) => CutSide | undefined | Promise<CutSide | undefined>;

const CLIENT_MESSAGES: Record<string, string> = {
  ...{ B: 'Bind', C: 'Close', D: 'Describe', E: 'Execute', H: 'Flush', P: 'Parse', Q: 'Query', S: 'Sync' },
  ...{ X: 'Terminate', p: 'Password' },
};
const SERVER_MESSAGES: Record<string, string> = {
  ...{ R: 'Authentication', K: 'BackendKeyData', S: 'ParameterStatus', Z: 'ReadyForQuery', E: 'ErrorResponse' },
  ...{ '1': 'ParseComplete', '2': 'BindComplete', T: 'RowDescription', D: 'DataRow', C: 'CommandComplete' },
  ...{ N: 'NoticeResponse', n: 'NoData', t: 'ParameterDescription', I: 'EmptyQueryResponse', '3': 'CloseComplete' },
};

/**
 * Stands before a PostgreSQL server, reads what both sides say message by message (without TLS), and cuts the
 * connection at a message that a test has chosen.
 */
export class WireProxy {
  /** Cuts that were made. */
  cuts = 0;
  /** What was said since `listen`. */
  heard: Message[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => this.#join(near));
  #target = 0;
  #meet: Meet | undefined;

  /** Starts, and answers the URL of a server behind it with the proxy's port in place of its own. */
  async start(url: string): Promise<string> {
    const through = new URL(url);
    this.#target = Number(through.port);
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    through.port = String((this.#server.address() as AddressInfo).port);
    return through.href;
  }

  /** From now on: what is said is kept, and the first message for which `meet` names a side ends its connection. */
  listen(meet?: Meet): void {
    this.heard = [];
    this.#meet = meet;
  }

  /** Cuts at the message of that place, counted from now on and from 0. */
  cutAt(place: number, side: CutSide): void {
    let next = 0;
    this.listen(() => (next++ === place ? side : undefined));
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1');
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    }
    const connection: Connection = { backend: undefined };
    this.#carry('client', near, far, connection);
    this.#carry('server', far, near, connection);
  }

  #carry(side: Side, from: Socket, to: Socket, connection: Connection): void {
    const messages = new Messages(side);
    let passed: Promise<void> = Promise.resolve();
    let over = false;
    from.on('data', (bytes) => {
      for (const { name, whole } of messages.read(bytes)) {
        passed = passed.then(async () => {
          if (over) return;
          if (name === 'BackendKeyData') connection.backend = whole.readUInt32BE(5);
          over = await this.#pass({ from: side, name, backend: connection.backend }, whole, from, to);
        });
      }
    });
    from.on('close', () => void passed.then(() => to.end()));
  }

  /** True when the connection was cut here. */
  async #pass(message: Message, whole: Buffer, from: Socket, to: Socket): Promise<boolean> {
    this.heard.push(message);
    const cut = await this.#meet?.(message);
    if (cut === undefined) {
      to.write(whole);
      return false;
    }
    this.#meet = undefined;
    this.cuts += 1;
    // What was passed on arrives: the end comes after it, and not in its place.
    if (cut === 'after') to.write(whole);
    to.end(() => from.destroy());
    return true;
  }
}

interface Connection {
  backend: number | undefined;
}

/** Splits one direction of a connection into messages. */
class Messages {
  readonly #side: Side;
  #rest: Buffer = Buffer.alloc(0);
  /** A client begins with a message that has no letter. */
  #started: boolean;

  constructor(side: Side) {
    this.#side = side;
    this.#started = side === 'server';
  }

  *read(bytes: Buffer): Generator<{ name: string; whole: Buffer }> {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const letter = this.#started ? 1 : 0;
      if (this.#rest.length < letter + 4) return;
      const size = letter + this.#rest.readUInt32BE(letter);
      if (this.#rest.length < size) return;
      const whole = this.#rest.subarray(0, size);
      this.#rest = this.#rest.subarray(size);
      yield { name: this.#name(whole), whole };
      this.#started = true;
    }
  }

  #name(whole: Buffer): string {
    if (!this.#started) return 'Startup';
    const letter = String.fromCharCode(whole[0] ?? 0);
    const name = (this.#side === 'client' ? CLIENT_MESSAGES : SERVER_MESSAGES)[letter];
    if (name === undefined) throw new Error(`${this.#side} says ${letter}, which is no message that this proxy knows`);
    return name;
  }
}
