import { createServer, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { AddressInfo } from 'node:net';

/** A call that went through. */
export interface Call {
  method: string;
  path: string;
  /** Of the answer. */
  status: number;
}

/** Where a call is: nothing has happened yet, or all has happened and nobody has been told. */
export type Moment = 'before' | 'after';

/** Stands before an HTTP service, notes every call, and lets a test step in at a moment of one. */
export interface RecordingProxy {
  url: string;
  readonly calls: Call[];
  /** Awaited at both moments of every call; true = the call goes no further and its caller is cut off. */
  interfere: (call: Omit<Call, 'status'>, moment: Moment) => boolean;
  close(): Promise<void>;
}

/** @param ca of a target that speaks TLS; the proxy itself does not */
export async function startRecordingProxy(target: string, ca?: Buffer): Promise<RecordingProxy> {
  const send = (
    call: { method: string; path: string },
    headers: OutgoingHttpHeaders,
    took: (answer: IncomingMessage) => void,
  ) =>
    ca === undefined
      ? request(new URL(call.path, target), { method: call.method, headers }, took)
      : secureRequest(new URL(call.path, target), { method: call.method, headers, ca }, took);
  const server = createServer((incoming, outgoing) => {
    const call = { method: incoming.method ?? '', path: incoming.url ?? '' };
    const cut = (moment: Moment): boolean => {
      if (!proxy.interfere(call, moment)) return false;
      incoming.socket.destroy();
      return true;
    };
    const failed = (): void => void incoming.socket.destroy();
    void bodyOf(incoming).then((body) => {
      if (cut('before')) return;
      const { host: _host, connection: _connection, ...headers } = incoming.headers;
      const onward = send(call, headers, (answer) => {
        // A watch never ends; what changes nothing is not held up.
        if (call.method === 'GET') {
          proxy.calls.push({ ...call, status: answer.statusCode ?? 0 });
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          outgoing.flushHeaders();
          answer.on('error', failed).pipe(outgoing);
          return;
        }
        void bodyOf(answer).then((bytes) => {
          proxy.calls.push({ ...call, status: answer.statusCode ?? 0 });
          if (cut('after')) return;
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers).end(bytes);
        }, failed);
      });
      onward.on('error', failed);
      outgoing.on('close', () => outgoing.writableFinished || onward.destroy());
      onward.end(body);
    }, failed);
  });
  const proxy: RecordingProxy = {
    url: '',
    calls: [],
    interfere: () => false,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
