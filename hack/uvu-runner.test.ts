/** Executes the reproduction of docs/adr/0002: why uvu's own runner is not ours. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';

const SUITE = `
const s = suite('before');
s.before(() => { throw new Error('the database did not start'); });
s('never runs', () => { throw new Error('would fail'); });
s.run();
`;

test('uvu’s runner exits 0 when a before hook throws, so it is not used', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-uvu-'));
  try {
    const file = join(folder, 'suite.mjs');
    await writeFile(file, `import { suite } from '${import.meta.resolve('uvu')}';\n${SUITE}`);
    const result = await new Promise<{ code: number; output: string }>((resolve) => {
      execFile(process.execPath, [file], (error, stdout) =>
        resolve({ code: error ? Number(error.code) : 0, output: stdout }),
      );
    });
    assert.match(result.output, /Total:\s+1\s+Passed:\s+0/);
    assert.is(result.code, 0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
