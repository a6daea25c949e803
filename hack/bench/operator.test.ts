import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { childEnvironment } from '../../config/settings.ts';

test('the quick benchmark prints every row; its own checks of trees, files and commits hold', () => {
  const bench = fileURLToPath(new URL('operator.ts', import.meta.url));
  const rows = execFileSync(process.execPath, [bench, '--quick'], { encoding: 'utf8', env: childEnvironment() });
  for (const row of [
    'new Instances',
    'the same among',
    'porcelain',
    'unchanged Instances',
    'per changed Instance',
    "client-node's informer",
    '0 API writes except the Lease',
  ])
    assert.ok(rows.includes(row), row);
});
