import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';

interface Case {
  suite: string;
  last: string;
  code: number;
  reason: string;
}

const CASES: Case[] = [
  { suite: "test('a', () => {}); test('b', () => {});", last: '2 passed, 0 failed', code: 0, reason: 'all is well' },
  { suite: "test('a', () => { throw new Error('x'); });", last: '0 passed, 1 failed', code: 1, reason: 'a test fails' },
  { suite: "test.skip('a', () => {});", last: '0 passed, 1 failed', code: 1, reason: 'a skipped test is a failed one' },
  { suite: "test.todo('a');", last: '0 passed, 1 failed', code: 1, reason: 'a test to do is a failed one' },
  { suite: '', last: '0 passed, 1 failed', code: 1, reason: 'a suite without tests did not run' },
  { suite: "throw new Error('cannot load');", last: '0 passed, 1 failed', code: 1, reason: 'a suite cannot be loaded' },
  {
    suite: "import { before } from 'node:test'; before(() => { throw new Error('x'); }); test('a', () => {});",
    last: '0 passed, 1 failed',
    code: 1,
    reason: 'a before hook throws',
  },
];

for (const { suite, last, code, reason } of CASES) {
  test(`the runner tells the truth when ${reason}`, async () => {
    const root = await mkdtemp(join(tmpdir(), 'gsv-run-'));
    try {
      await mkdir(join(root, 'config'));
      await symlink(join(import.meta.dirname, '../../node_modules'), join(root, 'node_modules'));
      await writeFile(join(root, 'package.json'), '{"type":"module"}');
      await writeFile(join(root, 'config/x.test.ts'), `import { test } from 'node:test';\n${suite}\n`);
      const result = await runSuites(root);
      assert.is(result.output.trimEnd().split('\n').at(-1), last, result.output);
      assert.is(result.code, code);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
}

function runSuites(root: string): Promise<{ output: string; code: number }> {
  const { NODE_TEST_CONTEXT: _nested, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(import.meta.dirname, 'run.ts'), 'fast', `--root=${root}`],
      { env },
      (error, stdout) => resolve({ output: stdout, code: error ? Number(error.code) : 0 }),
    );
  });
}
