/**
 * The documentation is held to the code. Two conventions make an example executable:
 *
 * - a fence ```` ```sh run=ledger ```` or ```` ```sh run=quickstart ```` is run against that process, in the order
 *   of the page and in one shell per page, with its addresses in the environment;
 * - a fence ```` ```json output ```` or ```` ```text output ```` right after it is what it must print: JSON as a
 *   subset (`"…"` stands for any value), text as lines that occur in that order.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { REASONS } from '../crds/conditions.ts';
import { PARKING_REASONS } from '../operator/orders/parking.ts';
import { type Example, examplesOf, type Fence, fencesOf, mismatches } from './docs/examples.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGES = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT }).sort();
/** Written by `npm run generate`. */
const GENERATED = ['conditions', 'errors', 'metrics', 'settings'].map((page) => `docs/${page}.md`);
const OURS = globSync('docs/*.md', { cwd: ROOT }).filter((page) => !GENERATED.includes(page));
const MAX_PAGE_LINES = 200;
const START_MS = 60_000;
const ANSI = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

const text = (page: string): string => readFileSync(join(ROOT, page), 'utf8');
const isData = ({ language }: Fence): boolean => language === 'json' || language === 'yaml';

test('the pages are there, and each fits on 200 lines', () => {
  for (const page of OURS) assert.ok(text(page).split('\n').length - 1 <= MAX_PAGE_LINES, page);
});

test('JSON and YAML in the documents parse', () => {
  const broken = PAGES.flatMap((page) =>
    fencesOf(text(page))
      .filter(isData)
      .flatMap((fence) => (parses(fence) ? [] : [`${page}:${fence.line}`])),
  );
  assert.equal(broken, []);
  assert.ok(!parses({ language: 'json', info: '', body: '{"a": 1,}', line: 1 }), 'the check can fail');
});

test('every npm script that a document names exists', () => {
  const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> };
  const named = PAGES.flatMap((page) =>
    [...text(page).matchAll(/\bnpm (?:run (?:--silent )?|(?=test))([a-z][\w:-]*\w)/g)].map(([, script]) => ({
      page,
      script,
    })),
  );
  assert.ok(named.length > 10);
  assert.equal(
    named.filter(({ script }) => scripts[script ?? ''] === undefined),
    [],
  );
});

test('every path of the repository and every link that a document names exists', () => {
  const absent = PAGES.flatMap((page) => {
    const prose = text(page).replace(/^```[\s\S]*?^```/gm, '');
    const paths = [
      ...prose.matchAll(/`((?:config|crds|docs|gateway|hack|kustomize|ledger|operator|\.ci)\/[\w./-]*)`/g),
    ];
    const links = [...prose.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)];
    return [
      ...paths.map(([, path]) => path ?? ''),
      ...links.map(([, link]) => join(dirname(page), link ?? '')),
    ].flatMap((path) => (existsSync(join(ROOT, path)) ? [] : [`${page}: ${path}`]));
  });
  assert.equal(absent, []);
});

test('whatever holds an object up has a line in the runbook that says what to do next', () => {
  const rows = [...text('docs/runbook.md').matchAll(/^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|$/gm)];
  const answered = rows.filter(([, , next]) => (next ?? '').trim() !== '').flatMap(([, cell]) => codesIn(cell));
  const holdUp = Object.entries(REASONS).filter(([, { treatment }]) => treatment !== 'Info');
  assert.equal(
    holdUp.map(([reason]) => reason).filter((reason) => !answered.includes(reason)),
    [],
  );
  assert.equal(
    answered.filter((reason) => !Object.hasOwn(REASONS, reason)),
    [],
  );
});

test('the pages name what the code has', () => {
  const commerce = text('docs/commerce.md');
  for (const reason of Object.keys(PARKING_REASONS)) assert.ok(commerce.includes(`\`${reason}\``), reason);
  const known = new Set(codesIn(text('docs/errors.md')));
  const answered = OURS.flatMap((page) => [...text(page).matchAll(/\b[45]\d\d ((?:`[a-z_]+`(?:, )?)+)/g)]);
  const codes = answered.flatMap(([, named]) => codesIn(named));
  assert.ok(codes.length > 20);
  assert.equal(
    codes.filter((code) => !known.has(code)),
    [],
  );
  const version = parse(text('config/samples/offeringversions/claims-agent-1.0.0.yaml')) as {
    spec: { contractDigest: string };
  };
  assert.ok(text('docs/architecture.md').includes(version.spec.contractDigest), 'the digest of the followed example');
  for (const name of globSync('*', { cwd: join(ROOT, 'docs/adr') }).filter((each) => each.endsWith('.md')))
    assert.ok(
      ['CONTRIBUTING.md', ...OURS].some((page) => text(page).includes(name)),
      name,
    );
});

/** What stands in backticks. */
function codesIn(markdown = ''): string[] {
  return [...markdown.matchAll(/`(\w+)`/g)].map(([, code]) => code ?? '');
}

function parses({ language, body }: Fence): boolean {
  if (language === 'yaml') return parseAllDocuments(body).every(({ errors }) => errors.length === 0);
  try {
    JSON.parse(body);
    return true;
  } catch {
    return false;
  }
}

let folder: string;
const started: ChildProcess[] = [];
const addresses: Record<string, Record<string, string>> = {};

before(
  async () => {
    // A real curl goes first: this one comes last on the PATH.
    folder = await mkdtemp(join(tmpdir(), 'gsv-docs-'));
    await chmod(folder, 0o755);
    await writeFile(
      join(folder, 'curl'),
      `#!/bin/sh\nexec '${process.execPath}' '${fileURLToPath(import.meta.resolve('./docs/curl.ts'))}' "$@"\n`,
      { mode: 0o755 },
    );
    addresses.quickstart = await startQuickstart();
  },
  { timeout: START_MS },
);

after(async () => {
  await Promise.all(
    started.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGINT');
      await ended;
    }),
  );
  await rm(folder, { recursive: true, force: true });
});

/** A new one for each page, whose ids begin at 1. */
async function startLedger(page: string): Promise<Record<string, string>> {
  const lines = launch('ledger/main.ts', page.replace(/\W/g, '-'), { GSV_LEDGER_TOKEN: 'development-token' });
  const url = await find(lines, /ledger listens at (http:\S+?)"/);
  return { LEDGER: url };
}

async function startQuickstart(): Promise<Record<string, string>> {
  const lines = launch('hack/quickstart/main.ts', 'quickstart', { GSV_LOG_LEVEL: 'error' });
  const EDGE = await find(lines, /^ {2}edge +(http:\S+)/);
  const TOKEN = await find(lines, /Authorization: Bearer ([\w.-]+)/);
  return { EDGE, TOKEN, REPO: join(folder, 'quickstart', 'git', 'tenants.git') };
}

/** Starts one process on free ports; yields its lines of both outputs. */
function launch(file: string, name: string, env: Record<string, string>): AsyncIterator<string> {
  const ports = { GSV_LEDGER_PORT: '0', GSV_GATEWAY_PORT: '0', GSV_RUNNER_PORT: '0' };
  const child = spawn(process.execPath, [join(ROOT, file)], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, GSV_DATA_DIR: join(folder, name), ...ports, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  const said: string[] = [];
  const waiting: (() => void)[] = [];
  const push = (line: string): void => {
    said.push(line.replaceAll(ANSI, ''));
    for (const wake of waiting.splice(0)) wake();
  };
  for (const stream of [child.stdout, child.stderr]) if (stream) createInterface({ input: stream }).on('line', push);
  let ended = false;
  child.once('exit', (code) => {
    ended = true;
    push(`${file} ended with ${code}`);
  });
  let next = 0;
  return {
    async next() {
      while (next >= said.length) {
        if (ended) return { done: true, value: said.slice(-10).join('\n') };
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      return { done: false, value: said[next++] ?? '' };
    },
  };
}

async function find(lines: AsyncIterator<string>, pattern: RegExp): Promise<string> {
  for (;;) {
    const { done, value } = await lines.next();
    if (done) throw new Error(`nothing matches ${pattern}:\n${value}`);
    const found = pattern.exec(value)?.[1];
    if (found !== undefined) return found;
  }
}

for (const page of PAGES) {
  const examples = examplesOf(text(page));
  for (const process of new Set(examples.map((each) => each.process))) {
    const own = examples.filter((each) => each.process === process);
    test(`${page}: ${own.length} example(s) against the ${process} print what they say`, async () => {
      const where = process === 'ledger' ? await startLedger(page) : addresses[process];
      const printed = await runExamples(own, where ?? {});
      const wrong = own.flatMap((each, index) =>
        mismatches(each, printed[index]).map((m) => `${page}:${each.line}: ${m}`),
      );
      assert.equal(wrong, []);
    });
  }
}

test('there are examples to run, and a wrong one is caught', () => {
  assert.ok(PAGES.flatMap((page) => examplesOf(text(page))).length >= 15);
  const example = (output: Example['output']): Example => ({ process: 'ledger', body: '', line: 1, output });
  const json = (body: string) => example({ language: 'json', info: '', body, line: 2 });
  assert.is(mismatches(json('{"a": [{"b": "…"}]}'), '{"a": [{"b": 7}], "c": 1}').length, 0);
  assert.is(mismatches(json('{"a": 1}'), '{"a": 2}').length, 1);
  assert.is(mismatches(json('{"a": "…"}'), '{}').length, 1);
  assert.is(mismatches(json('[1]'), '[1, 2]').length, 1);
  assert.is(mismatches(example({ language: 'text', info: '', body: 'b\na', line: 2 }), 'a\nb').length, 1);
});

/** Runs the examples in one shell; returns what each printed, as far as it came. */
async function runExamples(examples: readonly Example[], env: Record<string, string>): Promise<string[]> {
  const mark = '\u001e';
  const script = ['set -eu', ...examples.map(({ body }) => `${body}\nprintf '${mark}'`)].join('\n');
  const path = `${process.env.PATH ?? ''}${delimiter}${folder}`;
  const shell = spawn('sh', [], { cwd: ROOT, env: { PATH: path, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  shell.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  shell.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  shell.stdin.end(script);
  const [code] = (await once(shell, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the shell ended with ${code}:\n${out}\n${errors}`);
  return out.split(mark);
}
