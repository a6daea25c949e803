import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it arrived. */
export interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
  /** Port of the caller's socket: the same for requests of one connection. */
  port: number | undefined;
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };

/** What a proxy says when it has nobody behind it. */
export const page =
  (status: number): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'text/html' }).end('<html>');
  };

export const hangUp: Answer = (request) => request.socket.destroy();
export const silence: Answer = () => undefined;

/** The head and a piece of the body; then the connection is gone. */
export const breakOff: Answer = (request, response) => {
  response.writeHead(201, { 'content-length': '1000' });
  response.write('{"hold":', () => request.socket.destroy());
};

/** An HTTP server that answers each request with the next of `answers`; the last one stays. */
export class FaultServer {
  seen: Seen[] = [];
  answers: Answer[] = [];
  readonly #server = createServer(async (request, response) => {
    const port = request.socket.remotePort;
    let body = '';
    for await (const chunk of request) body += chunk;
    this.seen.push({
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body,
      port,
    });
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    answer?.(request, response);
  });

  /** Answers its base URL. */
  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Forgets what came, and what to answer. */
  reset(): void {
    this.seen = [];
    this.answers = [];
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
