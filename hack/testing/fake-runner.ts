import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RunTicket, TicketBooth } from '../../gateway/ticket.ts';
import type { LedgerClient } from '../../ledger/client.ts';

/** What the fake does with a run, chosen by the first word of its input. */
type Behaviour =
  /** Answers at once. */
  | 'answer'
  /** Answers when `release()` is called. */
  | 'wait'
  /** Voids the hold and answers 502. */
  | 'fail'
  /** Cuts the connection without settling. */
  | 'die'
  /** Captures, keeps the result, then cuts the connection. */
  | 'settle-and-die'
  /** Cuts the stream in the middle of an event, without settling. */
  | 'break'
  /** Refuses the edge: 401 without voiding. */
  | 'refuse'
  /** The charge is open. */
  | 'owe';

export interface FakeRunner {
  url: string;
  /** Tickets of the runs that were started, in order. */
  started: RunTicket[];
  /** Secrets that were written, in order. */
  secrets: { ticket: RunTicket; body: { value: string; version?: number } }[];
  /** Runs that somebody reads or waits for, in the order of asking. */
  followed: string[];
  cancelled: string[];
  /** Runs whose client closed the connection early. */
  left: string[];
  /** Lets runs that wait go on. */
  release(): void;
  /** Forgets a result, as after 24 h. */
  forget(runId: string): void;
  /** Next secret write answers 409. */
  conflict: boolean;
  close(): Promise<void>;
}

export const RUN_PRICE = 12_000;

/** The runner's side of the internal protocol on the real ledger, without a runtime behind it. */
export async function startFakeRunner(booth: TicketBooth, ledger: LedgerClient): Promise<FakeRunner> {
  const results = new Map<string, Promise<string>>();
  let go = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const fake: FakeRunner = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    started: [],
    secrets: [],
    followed: [],
    cancelled: [],
    left: [],
    conflict: false,
    release: () => {
      go.resolve();
      go = Promise.withResolvers();
    },
    forget: (runId) => void results.delete(runId),
    close: async () => {
      go.resolve();
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, 'close');
    },
  };
  return fake;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const ticket = await booth.check(request.headers.authorization?.slice('Bearer '.length) ?? '');
    const [, , collection, id] = request.url?.split('/') ?? [];
    if (collection === 'secrets') return writeSecret(ticket, request, response);
    if (request.method === 'POST' && ticket.purpose === 'run') return start(ticket, request, response);
    if (ticket.purpose !== 'read' || id !== ticket.runId) return problem(response, 403, 'ticket_mismatch');
    const result = results.get(ticket.runId);
    if (!result) return problem(response, 404, 'run_not_found');
    if (request.method === 'DELETE') {
      fake.cancelled.push(ticket.runId);
      return send(response, 202, JSON.stringify({ runId: ticket.runId }));
    }
    fake.followed.push(ticket.runId);
    return answer(ticket, await result, request, response);
  }

  async function start(ticket: RunTicket, request: IncomingMessage, response: ServerResponse): Promise<void> {
    fake.started.push(ticket);
    const { input } = (await readBody(request)) as { input: string };
    const behaviour = input.split(' ')[0] as Behaviour;
    response.once('close', () => {
      if (!response.writableFinished) fake.left.push(ticket.runId);
    });
    if (behaviour === 'die') return void response.destroy();
    if (behaviour === 'refuse') return problem(response, 401, 'ticket_invalid');
    if (behaviour === 'owe') return problem(response, 503, 'settlement_unavailable');
    if (behaviour === 'fail') {
      await ledger.voidHold(ticket.hold ?? '', { reason: 'runtime_error' }, `void:${ticket.hold}`);
      return problem(response, 502, 'runtime_error');
    }
    if (behaviour === 'break') return breakOff(ticket, response);
    const settled = (async () => {
      if (behaviour === 'wait') await go.promise;
      return settle(ticket, input);
    })();
    results.set(ticket.runId, settled);
    const text = await settled;
    if (behaviour === 'settle-and-die') return void response.destroy();
    return answer(ticket, text, request, response);
  }

  async function settle(ticket: RunTicket, input: string): Promise<string> {
    const lines = [{ dimension: 'run', units: 1, amount: RUN_PRICE }];
    const capture = await ledger.capture(ticket.hold ?? '', { lines }, `run:${ticket.runId}`);
    return JSON.stringify({
      runId: ticket.runId,
      output: { text: `echo: ${input}` },
      usage: [{ source: 'Run', units: 1 }],
      receipt: {
        id: capture.receipt,
        amountMicrocredits: capture.amount,
        lines: lines.map(({ amount, ...line }) => ({ ...line, amountMicrocredits: amount })),
      },
      balanceMicrocredits: capture.available,
    });
  }

  async function writeSecret(ticket: RunTicket, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await readBody(request)) as { value: string; version?: number };
    if (ticket.purpose !== 'secret-write') return problem(response, 403, 'ticket_mismatch');
    if (fake.conflict) return problem(response, 409, 'version_conflict');
    fake.secrets.push({ ticket, body });
    const reply = { name: ticket.secret, version: fake.secrets.length, updatedTime: new Date().toISOString() };
    send(response, 200, JSON.stringify(reply));
  }
}

function answer(ticket: RunTicket, text: string, request: IncomingMessage, response: ServerResponse): void {
  if (!request.headers.accept?.includes('text/event-stream')) {
    send(response, 200, text);
    return;
  }
  const { output, ...receipt } = JSON.parse(text) as { output: unknown };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  event(response, 'run', { runId: ticket.runId });
  event(response, 'delta', output);
  response.write(': ping\n\n');
  event(response, 'receipt', receipt);
  event(response, 'end', {});
  response.end();
}

function breakOff(ticket: RunTicket, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  event(response, 'run', { runId: ticket.runId });
  response.write('event: delta\ndata: {"te', () => response.destroy());
}

function event(response: ServerResponse, name: string, data: unknown): void {
  response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

function problem(response: ServerResponse, status: number, code: string): void {
  send(response, status, JSON.stringify({ status, code, detail: `the fake answers ${code}` }));
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(text);
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString());
}
