import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { dataFolder, onceQuickstart, postgresOf, removeFolders, startQuickstart } from '../testing/quickstart.ts';

after(removeFolders);

/** A port that somebody else has. */
async function takenPort(): Promise<{ port: string; free: () => void }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: String((server.address() as AddressInfo).port), free: () => void server.close() };
}

test('it stays up on free ports, keeps others off its data, answers the pasted curl, and Ctrl-C ends all of it', async () => {
  const data = dataFolder();
  const [gateway, ledger, runner] = [await takenPort(), await takenPort(), await takenPort()];
  const running = startQuickstart([], data, {
    GSV_GATEWAY_PORT: gateway.port,
    GSV_LEDGER_PORT: ledger.port,
    GSV_RUNNER_PORT: runner.port,
  });
  try {
    await running.says('Ctrl-C stops it');
    const said = running.stdout();
    for (const phase of [
      'order',
      'credits',
      'accepted',
      'funded',
      'secrets',
      'committed',
      'synced',
      'ready',
      'run',
      'receipt',
    ]) {
      assert.match(said, new RegExp(`^ {2}${phase} +\\d+ ms`, 'm'));
    }
    assert.not.match(said, `:${gateway.port}`);
    const postgres = postgresOf(data);
    assert.type(postgres, 'number');

    const second = await onceQuickstart([], data);
    assert.equal([second.code, second.last.failedPhase], [1, 'start']);
    assert.match(second.last.error.message, `in use by process ${running.process.pid}: stop that process first`);

    const [, url = '', token = '', body = ''] =
      /curl -sS (\S+) \\\n.*Bearer ([^']+)' \\\n.*\n\s+-d '([^']+)'/.exec(said) ?? [];
    const reply = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body,
    });
    assert.is(reply.status, 200);
    assert.type(((await reply.json()) as { receipt: { id: string } }).receipt.id, 'string');

    running.process.kill('SIGINT');
    const { code, stdout, stderr } = await running.finished;
    assert.equal([code, stdout.includes('stopping')], [0, true], stderr);
    assert.is(postgresOf(data), undefined);
    assert.not.ok(existsSync(join(data, 'resources.jsonl.lock')));
  } finally {
    running.process.kill('SIGKILL');
    for (const { free } of [gateway, ledger, runner]) free();
  }
});

test('Ctrl-C in the middle of a start ends it, too, and the next start goes on', async () => {
  const data = dataFolder();
  const running = startQuickstart(['--once'], data);
  try {
    while (postgresOf(data) === undefined) {
      assert.is(running.process.exitCode, null);
      await delay(10);
    }
    running.process.kill('SIGINT');
    const { code, stdout } = await running.finished;
    assert.is(code, 1);
    assert.is(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '').error.code, 'interrupted');
    assert.is(postgresOf(data), undefined);
  } finally {
    running.process.kill('SIGKILL');
  }
  const { code, last } = await onceQuickstart([], data);
  assert.equal([code, last.ok], [0, true], JSON.stringify(last));
});

test('a quickstart that was killed leaves no database behind, and the next start goes on', async () => {
  const data = dataFolder();
  const running = startQuickstart([], data);
  await running.says('Ctrl-C stops it');
  running.process.kill('SIGKILL');
  await running.finished;
  const { code, last } = await onceQuickstart([], data);
  assert.equal([code, last.ok], [0, true], JSON.stringify(last));
  assert.is(postgresOf(data), undefined);
});
