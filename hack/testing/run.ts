/**
 * Runs the suites and ends with one line, `N passed, N failed`.
 *
 *   node hack/testing/run.ts fast [path…]   every *.test.ts: needs only Node, npm and git
 *   node hack/testing/run.ts real [path…]   every *.real.ts: outside programs, fetched and cached
 *   node hack/testing/run.ts soak path…     *.soak.ts, and *.test.ts that were told by their variables to take long
 *
 * A file that cannot be loaded, a file without a test, a skipped or `todo` test: each counts as failed.
 */
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** `--root=DIR` points it at another tree: that is how its own tests run it on broken suites. */
const rootFlag = process.argv.find((argument) => argument.startsWith('--root='));
const ROOT = rootFlag ? resolve(rootFlag.slice('--root='.length)) : join(import.meta.dirname, '../..');
const FOLDERS = ['config', 'crds', 'gateway', 'hack', 'ledger', 'operator'];

/** One test may take this long before it counts as hanging; real suites install and build programs. */
const TIMEOUT_MS = { fast: 120_000, real: 2_700_000, soak: 3_600_000 };

const [mode, ...paths] = process.argv.slice(2).filter((argument) => argument !== rootFlag);
if (mode !== 'fast' && mode !== 'real' && mode !== 'soak') {
  process.stderr.write('usage: run.ts fast|real|soak [path…]\n');
  process.exit(2);
}

const files = suites(mode, paths);
if (files.length === 0) {
  process.stdout.write('0 passed, 1 failed\n');
  process.stderr.write('no suite matches\n');
  process.exit(1);
}

let passed = 0;
const failures: string[] = [];
const seen = new Map(files.map((file) => [file, 0]));

const stream = run({
  files,
  isolation: 'process',
  // Real suites share installed programs and ports, so they run one after the other.
  concurrency: mode === 'real' ? 1 : availableParallelism(),
  timeout: TIMEOUT_MS[mode],
});
stream.on('test:pass', (event) => count(event, true));
stream.on('test:fail', (event) => count(event, false));
// A test's own location may be a shared suite; only the summary names the file that was run.
stream.on('test:summary', ({ file, counts }) => {
  if (file !== undefined && seen.get(resolve(file)) === 0) seen.set(resolve(file), counts.tests);
});

const report = stream.compose(spec);
for await (const chunk of report) process.stdout.write(chunk);

for (const [file, tests] of seen) if (tests === 0) failures.push(`${relative(ROOT, file)}: ran no test`);
if (failures.length > 0) process.stdout.write(`\nfailed:\n${failures.map((name) => `  ${name}`).join('\n')}\n`);
process.stdout.write(`\n${passed} passed, ${failures.length} failed\n`);
process.exit(failures.length === 0 ? 0 : 1);

interface Outcome {
  name: string;
  file?: string | undefined;
  skip?: string | boolean | undefined;
  todo?: string | boolean | undefined;
  details: { type?: string | undefined };
}

function count(event: Outcome, ok: boolean): void {
  const file = event.file === undefined ? undefined : resolve(event.file);
  // A file without tests reports itself as one; a crashed file does so as a failure.
  const isFile = event.name === file || resolve(event.name) === file;
  if (event.details.type === 'suite') return;
  if (isFile && ok) return;
  // A file that could not be loaded is one failure, and not one more for having run no test.
  if (isFile && file !== undefined) seen.set(file, 1);
  const excused = event.skip !== undefined || event.todo !== undefined;
  if (ok && !excused) passed += 1;
  else failures.push(`${file ? relative(ROOT, file) : '?'}: ${event.name}${excused ? ' (skipped or todo)' : ''}`);
}

function suites(kind: keyof typeof TIMEOUT_MS, wanted: string[]): string[] {
  const pattern = { fast: '*.test.ts', real: '*.real.ts', soak: '*.{test,soak}.ts' }[kind];
  return FOLDERS.flatMap((folder) => globSync(`${folder}/**/${pattern}`, { cwd: ROOT }))
    .filter((file) => wanted.length === 0 || wanted.some((path) => file.startsWith(path)))
    .sort()
    .map((file) => join(ROOT, file));
}
