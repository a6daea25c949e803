import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { StoreError } from '../store.ts';
import { resourceStoreContract } from './contract.suite.ts';
import { EmbeddedStore } from './embedded.ts';

const folder = mkdtempSync(join(tmpdir(), 'gsv-journal-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
const newFile = (): string => {
  count += 1;
  return join(folder, `case-${count}`, 'resources.jsonl');
};

const WRITER = { fieldManager: 'test' };
const organization = (name: string, title = 'T', labels?: Record<string, string>) => ({
  metadata: { name, ...(labels ? { labels } : {}) },
  spec: { display: { title } },
});

async function failure(file: string): Promise<StoreError> {
  try {
    const store = await EmbeddedStore.open({ journal: file });
    await store.close();
  } catch (error) {
    return error as StoreError;
  }
  throw new Error('the journal was opened');
}

/** A journal with two Organizations, closed. */
async function written(): Promise<string> {
  const file = newFile();
  const store = await EmbeddedStore.open({ journal: file });
  await store.create('Organization', organization('one'));
  await store.create('Organization', organization('two'));
  await store.close();
  return file;
}

resourceStoreContract('embedded with a journal', async () => {
  const store = await EmbeddedStore.open({ journal: newFile() });
  return { store, close: () => store.close() };
});

test('a restart finds everything again and goes on counting', async () => {
  const file = newFile();
  const first = await EmbeddedStore.open({ journal: file });
  await first.create('Namespace', { metadata: { name: 'gsv-org-one' }, spec: {} });
  await first.apply('Organization', organization('one', 'T', { mine: '1' }), WRITER);
  await first.applyStatus('Organization', { name: 'one' }, { observedGeneration: 1, namespace: 'gsv-org-one' }, WRITER);
  await first.create('Project', { metadata: { namespace: 'gsv-org-one', name: 'default' }, spec: {} });
  await first.create('Organization', organization('gone'));
  await first.delete('Organization', { name: 'gone' });
  const before = [await first.list('Organization'), await first.list('Project'), await first.list('Namespace')];
  await first.close();
  await (await EmbeddedStore.open({ journal: file })).close();

  const second = await EmbeddedStore.open({ journal: file });
  const found = [await second.list('Organization'), await second.list('Project'), await second.list('Namespace')];
  assert.equal(found, before);
  // The removal was change 6; compaction must not lead back to a number that was given out.
  const next = await second.apply('Organization', organization('one'), WRITER);
  assert.is(next.metadata.resourceVersion, '7');
  assert.is(next.metadata.labels, undefined);
  await second.close();
});

test('opening compacts: one line for each object that is left', async () => {
  const file = newFile();
  const first = await EmbeddedStore.open({ journal: file });
  for (let n = 1; n <= 50; n += 1) await first.apply('Organization', organization('one', `Title ${n}`), WRITER);
  await first.close();
  assert.is(readFileSync(file, 'utf8').split('\n').length, 52);
  const second = await EmbeddedStore.open({ journal: file });
  await second.close();
  assert.is(readFileSync(file, 'utf8').split('\n').length, 3);
});

test('a Namespace that was going goes on after a restart', async () => {
  const file = newFile();
  const first = await EmbeddedStore.open({ journal: file });
  await first.create('Namespace', { metadata: { name: 'team' }, spec: {} });
  const metadata = { namespace: 'team', name: 'held', finalizers: ['store.gsv.dev/test'] };
  await first.create('Project', { metadata, spec: {} });
  await first.delete('Namespace', { name: 'team' });
  await first.close();
  const second = await EmbeddedStore.open({ journal: file });
  const held = await second.get('Project', metadata);
  assert.ok(held?.metadata.deletionTimestamp);
  await second.setFinalizers('Project', metadata, [], { resourceVersion: held?.metadata.resourceVersion ?? '' });
  assert.is(await second.get('Namespace', { name: 'team' }), undefined);
  await second.close();
});

test('a death in the middle of emptying a Namespace is made good at the next start', async () => {
  const file = newFile();
  const first = await EmbeddedStore.open({ journal: file });
  await first.create('Namespace', { metadata: { name: 'team' }, spec: {} });
  await first.create('Project', { metadata: { namespace: 'team', name: 'free' }, spec: {} });
  await first.delete('Namespace', { name: 'team' });
  await first.close();
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  assert.match(lines.at(-1) ?? '', /"kind":"Namespace","remove"/);
  assert.match(lines.at(-2) ?? '', /"kind":"Project","remove"/);
  writeFileSync(file, `${lines.slice(0, -2).join('\n')}\n`);
  const second = await EmbeddedStore.open({ journal: file });
  assert.equal(await second.list('Project'), []);
  assert.is(await second.get('Namespace', { name: 'team' }), undefined);
  await second.close();
});

test('a last line that was cut off is left out, wherever the cut is', async () => {
  const file = await written();
  const whole = readFileSync(file);
  const lastStart = whole.lastIndexOf('\n', whole.length - 2) + 1;
  let cuts = 0;
  for (let end = lastStart; end < whole.length; end += 23) {
    writeFileSync(file, whole.subarray(0, end));
    const store = await EmbeddedStore.open({ journal: file });
    assert.equal(
      (await store.list('Organization')).map((each) => each.metadata.name),
      ['one'],
    );
    const made = await store.create('Organization', organization('three'));
    assert.is(made.metadata.resourceVersion, '2');
    await store.close();
    cuts += 1;
  }
  assert.ok(cuts > 5);
});

test('a damaged line before the end is refused with the file, the line and what to do; the file stays', async () => {
  const file = await written();
  const whole = readFileSync(file, 'utf8');
  const lines = whole.split('\n');
  const flipped = (lines[1] ?? '').replace('"title":"T"', '"title":"U"');
  const broken: [number, string][] = [
    [2, whole.replace(lines[1] ?? '', flipped)],
    [2, whole.replace(lines[1] ?? '', (lines[1] ?? '').slice(0, 40))],
    [1, whole.replace('gsv-resource-store', 'something-else')],
    [1, 'not a journal at all'],
  ];
  for (const [number, content] of broken) {
    assert.is.not(content, whole);
    writeFileSync(file, content);
    const error = await failure(file);
    assert.is(error.code, 'Unavailable');
    assert.ok(error.message.includes(file));
    assert.match(error.message, new RegExp(`line ${number}:.*delete it`));
    assert.is(readFileSync(file, 'utf8'), content);
    assert.not(existsSync(`${file}.lock`));
  }
});

test('two stores of one process cannot have one journal, one after the other can', async () => {
  const file = newFile();
  const first = await EmbeddedStore.open({ journal: file });
  const error = await failure(file);
  assert.is(error.code, 'Unavailable');
  assert.match(error.message, new RegExp(`in use by process ${process.pid}`));
  await first.close();
  await (await EmbeddedStore.open({ journal: file })).close();
});

test('a second process is refused while the first lives, and takes over when it was killed', async () => {
  const file = newFile();
  const source = `
    import { EmbeddedStore } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)};
    const store = await EmbeddedStore.open({ journal: ${JSON.stringify(file)} });
    await store.create('Organization', ${JSON.stringify(organization('survivor'))});
    process.stdout.write('written');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    await once(child.stdout, 'data');
    assert.match((await failure(file)).message, new RegExp(`in use by process ${child.pid}`));
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
  const store = await EmbeddedStore.open({ journal: file });
  assert.ok(await store.get('Organization', { name: 'survivor' }));
  await store.close();
});

test('an answered write is in the file before close', async () => {
  const file = newFile();
  const store = await EmbeddedStore.open({ journal: file });
  await store.create('Organization', organization('one'));
  assert.match(readFileSync(file, 'utf8'), /"name":"one"/);
  await store.close();
});

test('text after the last whole line does not spoil what is written next', async () => {
  const file = await written();
  appendFileSync(file, '0badc0de {"resourceVersion":9');
  const first = await EmbeddedStore.open({ journal: file });
  await first.create('Organization', organization('three'));
  await first.close();
  const second = await EmbeddedStore.open({ journal: file });
  assert.is((await second.list('Organization')).length, 3);
  await second.close();
});

test('a process that ended and that nobody has waited for no longer holds the lock', { timeout: 20_000 }, async () => {
  const file = newFile();
  await (await EmbeddedStore.open({ journal: file })).close();
  // The shell's child ends, and the program that replaces the shell never asks for its exit code: a zombie.
  const shell = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 20'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [pid] = (await once(shell.stdout, 'data')) as [Buffer];
    writeFileSync(`${file}.lock`, pid);
    assert.is((await failure(file)).code, 'Unavailable');
    while (await EmbeddedStore.open({ journal: file }).then((store) => store.close(), refused)) await delay(20);
    assert.is(process.kill(Number(pid), 0), true);
  } finally {
    shell.kill('SIGKILL');
  }
});

const refused = (): true => true;
