import { Writable } from 'node:stream';
import { mock, test } from 'node:test';
import type { FastifyReply, FastifyRequest } from 'fastify';
import * as assert from 'uvu/assert';
import { runnerProblem } from './problems.ts';
import { Run } from './run.ts';
import { PING_MS, streamRun } from './stream.ts';

/** A client's socket that takes one write at a time, when it is told to. */
class Client extends Writable {
  readonly writes: string[] = [];
  #take: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1 });
  }

  writeHead(): this {
    return this;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writes.push(chunk.toString());
    this.#take = done;
  }

  take(): void {
    const take = this.#take;
    this.#take = undefined;
    take?.();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function begin(): { run: Run; client: Client; streaming: Promise<void> } {
  const run = new Run({ id: 'run-1', instanceUid: 'uid-1', abortWhenAlone: false });
  const client = new Client();
  const reply = { hijack: () => reply, raw: client } as unknown as FastifyReply;
  return { run, client, streaming: streamRun(run, { id: 'request-1' } as FastifyRequest, reply) };
}

test('a client that does not read gets no second event until it took the first, and then a joined one', async () => {
  const { run, client, streaming } = begin();
  for (let index = 0; index < 1_000; index++) run.append({ type: 'delta', text: 'word ' });
  run.finish({ ok: false, problem: runnerProblem('run_cancelled', 'cancelled') });
  for (let index = 0; index < 5; index++) await turn();
  assert.is(client.writes.length, 1);
  assert.is(client.writableLength, client.writes[0]?.length);
  while (!client.writableFinished) {
    client.take();
    await turn();
  }
  await streaming;
  const names = client.writes.map((write) => write.split('\n')[0]);
  assert.equal(names, ['event: run', 'event: delta', 'event: error', 'event: end']);
  assert.match(client.writes[1] ?? '', 'word '.repeat(1_000));
});

test('a silent stream is kept alive by pings', async () => {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    const { run, client, streaming } = begin();
    client.take();
    await turn();
    mock.timers.tick(PING_MS);
    await turn();
    assert.equal(client.writes.slice(1), [': ping\n\n']);
    run.finish({ ok: false, problem: runnerProblem('run_cancelled', 'cancelled') });
    while (!client.writableFinished) {
      client.take();
      await turn();
    }
    await streaming;
  } finally {
    mock.timers.reset();
  }
});
