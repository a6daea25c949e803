/** The process as it is started: settings, first log line, signals, the audit command. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { createTestDatabase } from '../hack/testing/postgres.ts';
import { LedgerOperations } from './operations.ts';

const main = join(import.meta.dirname, 'main.ts');
const dataDir = mkdtempSync(join(tmpdir(), 'gsv-ledger-main-'));
const TOKEN = 'canary-development-token';
before(() => chmod(dataDir, 0o755));
after(() => rmSync(dataDir, { recursive: true, force: true }));

interface Run {
  child: ChildProcess;
  /** Everything on standard error so far. */
  lines: string[];
  /** Resolves with the first line on standard error. */
  first: Promise<string>;
  ended: Promise<{ code: number | null; output: string }>;
}

function start(env: Record<string, string>, ...args: string[]): Run {
  const child = spawn(process.execPath, ['--no-warnings', main, ...args], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const first = Promise.withResolvers<string>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line);
    first.resolve(line);
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
  void ended.then(() => first.resolve(''));
  return { child, lines, first: first.promise, ended };
}

const development = { GSV_DATA_DIR: dataDir, GSV_LEDGER_PORT: '0', GSV_LEDGER_TOKEN: TOKEN };

test('a ledger with embedded defaults names its URL in the first line, serves, and ends with 0', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const run = start(development);
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(await run.first)?.[0] ?? '';
    assert.ok(url, run.lines.join('\n'));
    const reply = await fetch(`${url}/v1/wallets/acme.main`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ownerUid: 'u' }),
    });
    assert.is(reply.status, 200);
    assert.is((await fetch(`${url}/readyz`)).status, 200);
    run.child.kill(signal);
    assert.is((await run.ended).code, 0, run.lines.join('\n'));
    assert.not.match(run.lines.join('\n'), TOKEN);
  }
});

test('the audit command prints progress and result', async () => {
  const run = start({ GSV_DATA_DIR: dataDir }, 'audit');
  const { code, output } = await run.ended;
  assert.is(code, 0, run.lines.join('\n'));
  const result = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  assert.equal([result.ok, result.problems], [true, []]);
});

test('the audit command ends with 1 when the book is wrong', async () => {
  const database = await createTestDatabase();
  try {
    await new LedgerOperations(database.sql).putWallet('acme.main', { ownerUid: 'u' });
    await database.admin`update gsv_ledger.wallets set available = 5`;
    const { code, output } = await start({ GSV_LEDGER_DATABASE_URL: database.url }, 'audit').ended;
    assert.is(code, 1);
    assert.match(JSON.parse(output.trim()).problems.join(), 'acme.main');
  } finally {
    await database.close();
  }
});

test('the drift command ends with 0 while all agree, with 1 for a difference, with 2 when a side cannot be read', async () => {
  const database = await createTestDatabase();
  const env = { GSV_LEDGER_DATABASE_URL: database.url };
  try {
    const agreed = await start(env, 'drift', '--from', '2026-10-01', '--wallet', 'acme.main').ended;
    assert.is(agreed.code, 0);
    assert.match(agreed.output, 'OpenMeter: not compared, GSV_OPENMETER_URL is not set\nno difference');

    const operations = new LedgerOperations(database.sql);
    await operations.putWallet('acme.main', { ownerUid: 'u' });
    await operations.grant('acme.main', { amount: 9, kind: 'manual' }, { key: 'g' });
    const { body } = await operations.hold({ wallet: 'acme.main', amount: 9, ttlSeconds: 60 }, { key: 'h' });
    await operations.capture(String(body.hold), { lines: [] }, { key: 'c' });
    await database.admin`update gsv_ledger.holds set captured = 1`;
    const differs = await start(env, 'drift', '--json').ended;
    assert.is(differs.code, 1);
    assert.equal(JSON.parse(differs.output).counts, { hold_amount_differs: 1 });

    const away = start({ ...env, GSV_OPENMETER_URL: 'http://127.0.0.1:1' }, 'drift');
    assert.is((await away.ended).code, 2);
    assert.equal(away.lines, ['OpenMeter does not answer']);
    assert.is((await start(env, 'drift', '--since', 'monday').ended).code, 2);
  } finally {
    await database.close();
  }
});

test('without a token the process ends with 1 and says what is missing', async () => {
  const run = start({ GSV_DATA_DIR: dataDir, GSV_LEDGER_PORT: '0' });
  assert.is((await run.ended).code, 1);
  assert.match(run.lines.join('\n'), 'GSV_LEDGER_TOKENS_FILE or GSV_LEDGER_TOKEN is required');
});

test('all problems of the settings are listed at once', async () => {
  const file = join(dataDir, 'tokens.json');
  writeFileSync(file, '{"a-secret-token": ["everything"]}');
  const run = start({
    GSV_LEDGER_PORT: 'http',
    GSV_OPS_PORT: '99999',
    GSV_LEDGER_DATABASE_URL: 'nonsense',
    GSV_LEDGER_TOKENS_FILE: file,
  });
  assert.is((await run.ended).code, 1);
  const said = run.lines.join('\n');
  for (const name of ['GSV_LEDGER_PORT', 'GSV_OPS_PORT', 'GSV_LEDGER_DATABASE_URL', 'GSV_LEDGER_TOKENS_FILE']) {
    assert.match(said, name);
  }
  assert.not.match(said, 'a-secret-token');
});

test('a port in use ends with 1 and a sentence', async () => {
  const first = start(development);
  const port = /:(\d+)/.exec(/http:\/\/\S+?:\d+/.exec(await first.first)?.[0]?.slice(5) ?? '')?.[1] ?? '';
  const second = start({ ...development, GSV_DATA_DIR: join(dataDir, 'second'), GSV_LEDGER_PORT: port });
  assert.is((await second.ended).code, 1);
  assert.match(second.lines.join('\n'), 'EADDRINUSE');
  first.child.kill('SIGTERM');
  assert.is((await first.ended).code, 0);
});

test('a database that is away is waited for and said so; a login that it refuses is not', async () => {
  const database = await createTestDatabase();
  const url = new URL(database.url);
  const [real, { port, open, close }] = [Number(url.port), await laterPort()];
  try {
    url.port = String(port);
    const run = start({ ...development, GSV_LEDGER_DATABASE_URL: url.href });
    const said = JSON.parse(await run.first) as { trouble: string; msg: string };
    assert.is(said.trouble, 'database_unavailable');
    assert.match(said.msg, /^waiting for the database: /);
    open(real);
    while (!run.lines.some((text) => text.includes('ledger listens at'))) await delay(20);
    run.child.kill('SIGTERM');
    assert.is((await run.ended).code, 0);

    const refused = start({
      ...development,
      GSV_LEDGER_DATABASE_URL: url.href.replace(/:[^:@/]+@/, ':canary-password@'),
    });
    assert.is((await refused.ended).code, 1);
    assert.match(refused.lines.join('\n'), 'GSV_LEDGER_DATABASE_URL');
    assert.not.match(refused.lines.join('\n'), 'canary-password');
  } finally {
    close();
    await database.close();
  }
});

/** A port where nobody listens until it is opened; then it leads to another. */
async function laterPort() {
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on('error', () => [near, far].map((each) => each.destroy()));
  });
  let target = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  const open = (to: number): void => {
    target = to;
    server.listen(port, '127.0.0.1');
  };
  return { port, open, close: () => void server.close() };
}
