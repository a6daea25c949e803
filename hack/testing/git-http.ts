/** A Git remote over HTTP: `git http-backend` behind node:http, with everything that can go wrong on the way. */
import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { childEnvironment } from '../../config/settings.ts';

/** What goes wrong with requests from now on. */
export interface HttpFault {
  /** Only requests whose address contains this; absent: all. */
  only?: string;
  /** Answer with this status and words instead. */
  status?: number;
  words?: string;
  /** Never answer. */
  hang?: boolean;
  /** Break the connection after so many bytes of the request's body. Git has not seen the rest. */
  cutRequestAt?: number;
  /** Break the connection after so many bytes of the answer; what git did stays done. */
  cutReplyAt?: number;
}

export class GitHttp {
  #server: Server;
  readonly #root: string;
  #port = 0;
  /** `user:password` that is accepted; undefined: anybody. */
  credentials: string | undefined;
  fault: HttpFault | undefined;
  /** How often a fault was met: a test of faults that did not fire has shown nothing. */
  fired = 0;
  /** Bytes of the last push: its request's body and its answer. */
  readonly lastPush = { request: 0, reply: 0 };

  private constructor(root: string) {
    this.#root = root;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  /** Serves all repositories beside `path`. */
  static async start(path: string): Promise<GitHttp> {
    const http = new GitHttp(dirname(path));
    await http.open();
    return http;
  }

  async fails(fault: HttpFault | undefined): Promise<void> {
    this.fault = fault;
  }

  async accepts(credentials: string): Promise<void> {
    this.credentials = credentials;
  }

  get port(): number {
    return this.#port;
  }

  /** Listens, at the same port as before. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    const sent = Buffer.from(request.headers.authorization?.replace(/^Basic /, '') ?? '', 'base64').toString();
    if (this.credentials !== undefined && sent !== this.credentials) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const { fault } = this;
    if (fault === undefined || !(request.url ?? '').includes(fault.only ?? '')) return this.#run(request, response, {});
    this.fired += 1;
    if (fault.hang) return;
    if (fault.status === undefined) return this.#run(request, response, fault);
    response.writeHead(fault.status, { 'Content-Type': 'text/plain' }).end(fault.words ?? '');
  }

  #run(request: IncomingMessage, response: ServerResponse, { cutRequestAt, cutReplyAt }: HttpFault): void {
    const child = spawn('git', ['http-backend'], { env: this.#environment(request), stdio: 'pipe' });
    const isPush = request.url?.endsWith('/git-receive-pack') ?? false;
    let received = 0;
    child.stdin.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => {
      const left = (cutRequestAt ?? Number.POSITIVE_INFINITY) - received;
      received += chunk.length;
      child.stdin.write(chunk.subarray(0, Math.max(0, left)));
      if (chunk.length >= left) request.socket.destroy();
    });
    request.on('close', () => child.stdin.end());
    request.on('end', () => child.stdin.end());
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('close', () => {
      const { status, headers, body } = parse(Buffer.concat(chunks));
      if (isPush && cutRequestAt === undefined && cutReplyAt === undefined)
        Object.assign(this.lastPush, { request: received, reply: body.length });
      if (response.destroyed) return;
      // A length that is not reached is how a client sees a cut answer.
      response.writeHead(status, { ...headers, 'Content-Length': String(body.length) });
      if (cutReplyAt === undefined || cutReplyAt >= body.length) response.end(body);
      else response.write(body.subarray(0, cutReplyAt), () => request.socket.destroy());
    });
  }

  #environment(request: IncomingMessage): Record<string, string> {
    const [path = '', query = ''] = (request.url ?? '').split('?');
    const { headers } = request;
    return {
      ...childEnvironment(),
      GIT_PROJECT_ROOT: this.#root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      GIT_CONFIG_KEY_1: 'http.receivepack',
      GIT_CONFIG_VALUE_1: 'true',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: headers['content-encoding'] ?? '',
      HTTP_GIT_PROTOCOL: String(headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
    };
  }
}

/** The answer of a CGI program: headers, an empty line, the body. */
function parse(output: Buffer): { status: number; headers: Record<string, string>; body: Buffer } {
  const end = output.indexOf('\r\n\r\n');
  if (end < 0) return { status: 500, headers: {}, body: output };
  const lines = output.toString('latin1', 0, end).split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => line.split(/:\s*(.*)/s).slice(0, 2)));
  const { Status: status = '200', ...rest } = headers as Record<string, string>;
  return { status: Number.parseInt(status, 10), headers: rest, body: output.subarray(end + 4) };
}
