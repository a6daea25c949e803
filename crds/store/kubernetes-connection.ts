import type { AgentOptions, RequestOptions } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
// biome-ignore lint/style/noRestrictedImports: this file is the one door to client-node
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, type buildConnector, type Dispatcher, ProxyAgent } from 'undici';
import { ApiError } from './kubernetes-errors.ts';

/** More calls than this at once wait for each other. */
const CONNECTIONS = 32;
/** The API server closes idle connections after 90 s; we are earlier. Milliseconds. */
const IDLE_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A page of 500 objects of the greatest size would be more than this; real ones have a few KiB. Bytes. */
const ANSWER_MAX_BYTES = 512 * 1024 * 1024;

/** TLS material and the dispatchers that were made of it. */
interface Channel {
  material: unknown;
  calls: Dispatcher;
  watches: Dispatcher;
}

/**
 * Connections to the API server. client-node makes a new connection pool for every request (2.0.1),
 * which costs a TLS handshake per call; here they are kept until the certificates change. HTTP/1.1 on
 * purpose: on a connection that has gone dead without a word an aborted HTTP/2 stream leaves the dead
 * connection in use, an aborted HTTP/1.1 request takes it along.
 */
export class KubernetesConnection {
  readonly #config: KubeConfig;
  readonly #server: string;
  #channel: Channel | undefined;

  /**
   * @param file path of a kubeconfig; absent: `KUBECONFIG`, else the one in the home folder, else the
   *   service account of the pod
   * @param context of that kubeconfig; absent: its current one
   * @throws Error that says what is missing
   */
  constructor(file?: string, context?: string) {
    this.#config = new KubeConfig();
    if (file === undefined) this.#config.loadFromDefault();
    else this.#config.loadFromFile(file);
    if (context !== undefined) {
      if (this.#config.getContextObject(context) === null)
        throw new Error(`the kubeconfig has no context ${JSON.stringify(context)}`);
      this.#config.setCurrentContext(context);
    }
    const cluster = this.#config.getCurrentCluster();
    if (cluster === null) throw new Error('the kubeconfig names no current cluster: set current-context in it');
    // What client-node falls back to when there is nothing: no cluster of ours.
    if (cluster.server === 'http://localhost:8080') {
      throw new Error('no cluster is known: set KUBECONFIG, or run in a pod with a service account');
    }
    this.#server = cluster.server.replace(/\/+$/, '');
  }

  url(path: string, query: Record<string, string | number | boolean | undefined>): string {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
    return `${this.#server}${path}${search.size > 0 ? `?${search}` : ''}`;
  }

  /** Headers with present credentials, and where to send. @throws ApiError when credentials cannot be had */
  async open(): Promise<{ headers: Record<string, string>; calls: Dispatcher; watches: Dispatcher }> {
    const options: RequestOptions = {};
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (cause) {
      throw new ApiError(0, 'Credentials', `our credentials cannot be read: ${(cause as Error).message}`, { cause });
    }
    const headers = Object.entries((options.headers ?? {}) as Record<string, string>);
    if (options.auth) headers.push(['authorization', `Basic ${Buffer.from(options.auth).toString('base64')}`]);
    const { calls, watches } = this.#channelFor(options);
    return { headers: { ...Object.fromEntries(headers), accept: 'application/json' }, calls, watches };
  }

  async close(): Promise<void> {
    await Promise.all([this.#channel?.calls.destroy(), this.#channel?.watches.destroy()]);
  }

  #channelFor({ ca, cert, key, pfx, passphrase, rejectUnauthorized, servername }: RequestOptions): Channel {
    const given = { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername };
    const material = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const present = this.#channel;
    if (present !== undefined && isDeepStrictEqual(present.material, material)) return present;
    this.#channel = {
      material,
      calls: this.#dispatcher(material, { connections: CONNECTIONS, maxResponseSize: ANSWER_MAX_BYTES }),
      watches: this.#dispatcher(material, {}),
    };
    // What runs on the old ones ends in its own time.
    void Promise.allSettled([present?.calls.close(), present?.watches.close()]);
    return this.#channel;
  }

  #dispatcher(material: AgentOptions, limits: { connections?: number; maxResponseSize?: number }): Dispatcher {
    const cluster = this.#config.getCurrentCluster();
    const found = this.#config.createDispatcherOptions(cluster, material);
    const shared = { ...limits, allowH2: false, keepAliveTimeout: IDLE_MS };
    const connecting = (tls: ConnectionOptions): buildConnector.BuildOptions => ({
      ...(tls as buildConnector.BuildOptions),
      timeout: CONNECT_TIMEOUT_MS,
    });
    if (found.type === 'proxy') {
      return new ProxyAgent({ ...shared, uri: found.uri, requestTls: connecting(found.requestTls) });
    }
    if (found.type === 'socks') throw new ApiError(0, 'Credentials', 'a SOCKS proxy in the kubeconfig is not offered');
    return new Agent({ ...shared, connect: connecting(found.type === 'agent' ? found.connect : {}) });
  }
}
