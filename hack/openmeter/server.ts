/**
 * A double of OpenMeter: its ingestion and the two reads that the drift report makes, as its API describes them
 * (`api/spec/packages/legacy/src/events.tsp` and `meters.tsp` of openmeterio/openmeter). It keeps what it took once per
 * source and id, refuses a batch as a whole, and fails on demand.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';

export interface TakenEvent {
  specversion: string;
  type: string;
  id: string;
  source: string;
  subject: string;
  time: string;
  datacontenttype?: string;
  data: Record<string, unknown>;
}

/** How the next ingestions go wrong. `lost` = taken, and the connection is cut before the answer. */
export type Failure = { status: number; headers?: Record<string, string>; body?: string } | 'cut' | 'lost';

export interface FakeOpenMeter {
  url: string;
  /** Each event once, in the order of its first arrival. */
  events: TakenEvent[];
  /** How many events arrived, repetitions included. */
  arrived: number;
  requests: { contentType: string | undefined; authorization: string | undefined; events: number; bytes: number }[];
  /** One for each ingestion to come, until they are used up. */
  failures: Failure[];
  /** Called when a batch was taken, before the answer. */
  taken: () => Promise<void>;
  /** Refused for what they are: 400 for the whole batch. */
  refuse: (event: TakenEvent) => boolean;
  /** More events in one request are 413. */
  maxEvents: number;
  /** Required when set. */
  token: string | undefined;
  /** Meters by slug: what is summed. */
  meters: Record<string, (event: TakenEvent) => number>;
  /** How often events were listed. */
  listed: number;
  /** Taken, and not in lists yet. */
  unstored: (event: TakenEvent) => boolean;
  /** Of an event that was taken and that no meter can count. */
  invalid: (event: TakenEvent) => string | undefined;
  close(): Promise<void>;
}

/** CloudEvents 1.0 with what OpenMeter asks for besides. */
const EVENT = {
  type: 'object',
  required: ['specversion', 'id', 'source', 'type', 'subject'],
  properties: {
    specversion: { const: '1.0' },
    id: { type: 'string', minLength: 1 },
    source: { type: 'string', minLength: 1, format: 'uri-reference' },
    type: { type: 'string', minLength: 1 },
    subject: { type: 'string', minLength: 1 },
    time: { type: 'string', format: 'date-time' },
    datacontenttype: { const: 'application/json' },
    data: { type: 'object' },
  },
};
const ajv = new Ajv();
addFormats.default(ajv);
const isEvent = ajv.compile(EVENT);

export async function startOpenMeter(): Promise<FakeOpenMeter> {
  const known = new Set<string>();
  const server = createServer((request, response) => {
    void serve(fake, known, request, response).catch((error: unknown) => {
      problem(response, 500, String(error));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const fake: FakeOpenMeter = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    events: [],
    arrived: 0,
    requests: [],
    failures: [],
    taken: async () => undefined,
    refuse: () => false,
    maxEvents: Number.POSITIVE_INFINITY,
    token: undefined,
    meters: {},
    listed: 0,
    unstored: () => false,
    invalid: () => undefined,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return fake;
}

async function serve(fake: FakeOpenMeter, known: Set<string>, request: IncomingMessage, response: ServerResponse) {
  const url = new URL(request.url ?? '/', fake.url);
  if (fake.token !== undefined && request.headers.authorization !== `Bearer ${fake.token}`)
    return problem(response, 401, `no such token: ${request.headers.authorization}`);
  if (request.method === 'POST' && url.pathname === '/api/v1/events') return ingest(fake, known, request, response);
  if (request.method === 'GET' && url.pathname === '/api/v2/events') return list(fake, url, response);
  const [, meter] = /^\/api\/v1\/meters\/([^/]+)\/query$/.exec(url.pathname) ?? [];
  if (request.method === 'GET' && meter !== undefined) return query(fake, decodeURIComponent(meter), url, response);
  return problem(response, 404, 'not found');
}

async function ingest(fake: FakeOpenMeter, known: Set<string>, request: IncomingMessage, response: ServerResponse) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  const contentType = request.headers['content-type'];
  const batch = contentType === 'application/cloudevents-batch+json' ? (JSON.parse(text) as TakenEvent[]) : undefined;
  const { authorization } = request.headers;
  fake.requests.push({ contentType, authorization, events: batch?.length ?? 0, bytes: text.length });
  const failure = fake.failures.shift();
  if (failure === 'cut') return void response.destroy();
  if (typeof failure === 'object') {
    response.writeHead(failure.status, failure.headers).end(failure.body ?? '');
    return;
  }
  if (batch === undefined) return problem(response, 400, `invalid content type: ${contentType}`);
  if (batch.length > fake.maxEvents) return problem(response, 413, 'too many events');
  const bad = batch.find((event) => !isEvent(event) || fake.refuse(event));
  if (bad) return problem(response, 400, `invalid event: ${bad.id}`);
  for (const event of batch) {
    fake.arrived += 1;
    const key = JSON.stringify([event.source, event.id]);
    if (known.has(key)) continue;
    known.add(key);
    fake.events.push(event);
  }
  await fake.taken();
  if (failure === 'lost') return void response.destroy();
  response.writeHead(204).end();
}

interface Filter {
  source?: { $eq: string };
  subject?: { $eq: string };
  time?: { $and: { $gte?: string; $lt?: string }[] };
}

/** Newest first, like the real one; the cursor is the last item's. */
function list(fake: FakeOpenMeter, url: URL, response: ServerResponse) {
  const { source, subject, time } = JSON.parse(url.searchParams.get('filter') ?? '{}') as Filter;
  const limit = Number(url.searchParams.get('limit') ?? 100);
  if (limit > 100) return problem(response, 400, 'limit is at most 100');
  const after = url.searchParams.get('cursor');
  fake.listed += 1;
  const within = (at: string): boolean =>
    (time?.$and ?? []).every(
      ({ $gte, $lt }) =>
        ($gte === undefined || Date.parse(at) >= Date.parse($gte)) &&
        ($lt === undefined || Date.parse(at) < Date.parse($lt)),
    );
  const found = fake.events
    .filter((event) => !fake.unstored(event))
    .filter((event) => source === undefined || event.source === source.$eq)
    .filter((event) => subject === undefined || event.subject === subject.$eq)
    .filter((event) => within(event.time))
    .toSorted((a, b) => Date.parse(b.time) - Date.parse(a.time) || (a.id < b.id ? 1 : -1));
  const start = after === null ? 0 : found.findIndex(({ id }) => id === after) + 1;
  const page = found.slice(start, start + limit);
  const items = page.map((event) => ({ event, ingestedAt: event.time, storedAt: event.time, ...reason(fake, event) }));
  json(response, { items, ...(page.length === 0 ? {} : { nextCursor: page.at(-1)?.id }) });
}

function reason(fake: FakeOpenMeter, event: TakenEvent): { validationError?: string } {
  const validationError = fake.invalid(event);
  return validationError === undefined ? {} : { validationError };
}

function query(fake: FakeOpenMeter, meter: string, url: URL, response: ServerResponse) {
  const value = fake.meters[meter];
  if (!value) return problem(response, 404, `no meter ${meter}`);
  const subject = url.searchParams.get('subject');
  const [from, to] = [url.searchParams.get('from'), url.searchParams.get('to')];
  const sum = fake.events
    .filter((event) => subject === null || event.subject === subject)
    .filter(({ time }) => from === null || Date.parse(time) >= Date.parse(from))
    .filter(({ time }) => to === null || Date.parse(time) < Date.parse(to))
    .reduce((total, event) => total + value(event), 0);
  json(response, { from, to, data: [{ value: sum, windowStart: from, windowEnd: to, subject, groupBy: {} }] });
}

function json(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function problem(response: ServerResponse, status: number, detail: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ status, detail }));
}
