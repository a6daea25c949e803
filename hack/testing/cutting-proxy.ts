import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What is cut off: of a request nothing or a part arrives; of a reply too, but its request has had its effect. */
export type Cut = 'request' | 'reply';

/** Stands before a PostgreSQL server and cuts connections in the middle of what is said, at a byte of a random place. */
export class CuttingProxy {
  /** Cuts that were made. */
  readonly cuts: Record<Cut, number> = { request: 0, reply: 0 };
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => this.#join(near));
  readonly #target: () => number;
  readonly #random: () => number;
  #next: Cut | undefined;

  /** @param target the port on the loopback interface, asked at every connection; @param random from 0 up to 1 */
  constructor(target: () => number, random: () => number) {
    this.#target = target;
    this.#random = random;
  }

  /** Starts, and answers the URL of a server behind it with the proxy's port in place of its own. */
  async start(url: string): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const through = new URL(url);
    through.port = String((this.#server.address() as AddressInfo).port);
    return through.href;
  }

  /** The next request or reply, of whichever connection, is cut. */
  cutNext(what: Cut): void {
    this.#next = what;
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    const far = connect(this.#target(), '127.0.0.1');
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (bytes) => this.#pass(bytes, 'request', near, far));
    far.on('data', (bytes) => this.#pass(bytes, 'reply', far, near));
  }

  #pass(bytes: Buffer, what: Cut, from: Socket, to: Socket): void {
    if (this.#next !== what) {
      to.write(bytes);
      return;
    }
    this.#next = undefined;
    this.cuts[what] += 1;
    from.removeAllListeners('data');
    to.end(bytes.subarray(0, Math.floor(this.#random() * bytes.length)), () => from.destroy());
  }
}
