import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { type EmbeddedPostgres, EmbeddedPostgresError, startEmbeddedPostgres } from './embedded.ts';

const log = createLogger({ part: 'test', level: 'fatal' });

let dataDir: string;
before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'gsv-embedded-'));
  await chmod(dataDir, 0o755);
});
after(() => rm(dataDir, { recursive: true, force: true }));

const inData = (name: string) => join(dataDir, 'postgres/data', name);
const start = () => startEmbeddedPostgres({ dataDir, log });

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return [...(await sql.unsafe(text))];
  } finally {
    await sql.end();
  }
}

/** Starts, which must fail, and returns the sentence. */
async function refusal(): Promise<string> {
  let started: EmbeddedPostgres | undefined;
  try {
    started = await start();
  } catch (error) {
    assert.instance(error, EmbeddedPostgresError);
    return (error as Error).message;
  }
  await started.stop();
  return 'it started';
}

test('a first start makes a database that syncs to disk, listens on loopback and keeps its password to itself', async () => {
  const server = await start();
  const [row] = await query(
    server.url,
    `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
    current_setting('full_page_writes') as pages, current_setting('listen_addresses') as address`,
  );
  await query(server.url, 'create table kept as select 42 as answer');
  const refused = await query(server.url.replace(/:[^:@]+@/, ':wrong@'), 'select 1').catch(
    (error: { code?: string }) => error.code,
  );
  const { mode } = await stat(join(dataDir, 'postgres/password'));
  await server.stop();
  await server.stop();
  assert.equal(row, { fsync: 'on', commit: 'on', pages: 'on', address: '127.0.0.1' });
  assert.is(refused, '28P01');
  assert.is(mode & 0o777, 0o600);
});

test('a second start finds what the first one kept', async () => {
  const server = await start();
  const rows = await query(server.url, 'select answer from kept');
  await server.stop();
  assert.equal(rows, [{ answer: 42 }]);
});

test('a folder in use is refused with the process that uses it', async () => {
  const server = await start();
  const said = await refusal();
  await server.stop();
  assert.match(said, `process ${process.pid} is using the database`);
});

test('PostgreSQL does not outlive a killed owner, and the next start has everything committed', async () => {
  const program = `
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)};
    import { createLogger } from ${JSON.stringify(new URL('../config/log.ts', import.meta.url).href)};
    const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log: createLogger({ part: 'x', level: 'fatal' }) });
    process.stdout.write(server.url);
    setInterval(() => undefined, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [url] = (await once(owner.stdout, 'data')) as [Buffer];
  await query(String(url), 'insert into kept values (43)');
  const pid = Number((await readFile(inData('postmaster.pid'), 'utf8')).split('\n')[0]);
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  for (let gone = false; !gone; await delay(10)) gone = !(await stat(`/proc/${pid}`).catch(() => undefined));
  const server = await start();
  const rows = await query(server.url, 'select answer from kept order by answer');
  await server.stop();
  assert.equal(rows, [{ answer: 42 }, { answer: 43 }]);
});

test('a stale pid file is no obstacle, even when the number belongs to somebody else now', async () => {
  await writeFile(inData('postmaster.pid'), `${process.pid}\n${inData('')}\n1\n5432\n\n127.0.0.1\n`);
  await writeFile(join(dataDir, 'postgres/owner.json'), JSON.stringify({ pid: process.pid, started: 'long ago' }));
  const server = await start();
  const rows = await query(server.url, 'select 1 as one');
  await server.stop();
  assert.equal(rows, [{ one: 1 }]);
});

test('an owner that ended and that nobody has waited for no longer has the folder', async () => {
  // The shell's child ends, and the program that replaces the shell never asks for its exit code: a zombie.
  const shell = spawn('sh', ['-c', 'sleep 0.1 & echo $!; exec sleep 20'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const pid = Number(String((await once(shell.stdout, 'data'))[0]));
    const statFile = `/proc/${pid}/stat`;
    const started = (await readFile(statFile, 'utf8')).split(' ')[21];
    while (!(await readFile(statFile, 'utf8')).includes(') Z ')) await delay(10);
    await writeFile(join(dataDir, 'postgres/owner.json'), JSON.stringify({ pid, started }));
    const server = await start();
    const rows = await query(server.url, 'select 1 as one');
    await server.stop();
    assert.equal(rows, [{ one: 1 }]);
  } finally {
    shell.kill('SIGKILL');
  }
});

const damages = [
  { file: 'global/pg_control', says: /could not start on .*if the folder is damaged, restore it from a backup/ },
  { file: 'PG_VERSION', says: /is not a PostgreSQL data folder or is damaged; restore it/ },
  { file: '../password', says: /password is missing; restore it, or move/ },
];
for (const { file, says } of damages) {
  test(`a data folder without ${file} gets a sentence that says what to do`, async () => {
    await rename(inData(file), `${inData(file)}.away`);
    const said = await refusal();
    await rename(`${inData(file)}.away`, inData(file));
    assert.match(said, says);
  });
}

test('a data folder of another major version is refused by name', async () => {
  const version = await readFile(inData('PG_VERSION'), 'utf8');
  await writeFile(inData('PG_VERSION'), '12\n');
  const said = await refusal();
  await writeFile(inData('PG_VERSION'), version);
  assert.match(said, /was made by PostgreSQL 12 and this release brings \d+/);
  const server = await start();
  await server.stop();
});
