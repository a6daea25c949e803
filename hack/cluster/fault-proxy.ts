import { writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { writeKubeconfig } from './credentials.ts';

interface Link {
  client: Socket;
  server: Socket;
  silent: boolean;
}

/**
 * Stands between a client and the API server and does what networks do: resets, silence, refusal. It
 * moves bytes and understands none, so TLS stays between the two.
 */
export class FaultProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #target: { host: string; port: number };
  #refusing = false;
  /** Bytes to the client until the next reset. */
  #allowance = Number.POSITIVE_INFINITY;
  /** How often each fault has happened: a test of a fault that did not fire has shown nothing. */
  readonly fired = { resets: 0, swallowedBytes: 0, refusals: 0 };

  private constructor(target: string) {
    const { hostname, port } = new URL(target);
    this.#target = { host: hostname, port: Number(port) };
    this.#server = createServer((client) => this.#link(client));
  }

  /** @returns the proxy, and the path of a kubeconfig that leads through it */
  static async start(cluster: Cluster): Promise<{ proxy: FaultProxy; kubeconfig: string }> {
    const proxy = new FaultProxy(cluster.url);
    await new Promise<void>((done) => proxy.#server.listen(0, '127.0.0.1', done));
    const { port } = proxy.#server.address() as AddressInfo;
    const kubeconfig = join(cluster.folder, `proxy-${port}.kubeconfig`);
    await writeFile(kubeconfig, '', { mode: 0o600 });
    await writeKubeconfig(kubeconfig, `https://127.0.0.1:${port}`, cluster.caFile, cluster.adminToken);
    return { proxy, kubeconfig };
  }

  /** Resets every connection that there is. */
  reset(): void {
    for (const link of [...this.#links]) this.#cut(link);
  }

  /** Resets the connection that carries the n-th byte to the client from now on, in the middle of whatever it is. */
  resetAfter(bytes: number): void {
    this.#allowance = bytes;
  }

  /** From now on the connections that there are carry nothing any more, but stay open. New ones work. */
  silence(): void {
    for (const link of this.#links) link.silent = true;
  }

  /** Cuts everything and lets nobody in until {@link admit}. */
  refuse(): void {
    this.#refusing = true;
    this.reset();
  }

  admit(): void {
    this.#refusing = false;
  }

  async close(): Promise<void> {
    this.#refusing = true;
    for (const { client, server } of this.#links) {
      client.destroy();
      server.destroy();
    }
    await new Promise((done) => this.#server.close(done));
  }

  #link(client: Socket): void {
    if (this.#refusing) {
      this.fired.refusals += 1;
      client.resetAndDestroy();
      return;
    }
    const link: Link = { client, server: connect(this.#target), silent: false };
    this.#links.add(link);
    for (const [from, to] of [
      [client, link.server],
      [link.server, client],
    ] as const) {
      from.on('data', (bytes: Buffer) => this.#carry(link, bytes, to));
      from.on('end', () => link.silent || to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#links.delete(link);
        if (!link.silent) to.destroy();
      });
    }
  }

  #carry(link: Link, bytes: Buffer, to: Socket): void {
    if (link.silent) {
      this.fired.swallowedBytes += bytes.length;
      return;
    }
    if (to === link.client) {
      this.#allowance -= bytes.length;
      if (this.#allowance <= 0) {
        to.write(bytes.subarray(0, bytes.length + this.#allowance), () => this.#cut(link));
        this.#allowance = Number.POSITIVE_INFINITY;
        return;
      }
    }
    to.write(bytes);
  }

  #cut(link: Link): void {
    this.#links.delete(link);
    this.fired.resets += 1;
    link.client.resetAndDestroy();
    link.server.destroy();
  }
}
