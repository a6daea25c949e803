import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { findPostgresTools } from './postgres-tools.ts';

test('tools that are missing are named with the package that brings them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-tools-'));
  try {
    const refusal = await findPostgresTools({ GSV_TEST_PG_BIN: folder }).catch(String);
    assert.match(refusal, /postgres, initdb, pg_dump, pg_restore missing in .*postgresql-15.*GSV_TEST_PG_BIN/);
    for (const tool of ['postgres', 'initdb', 'pg_dump', 'pg_restore']) {
      await writeFile(join(folder, tool), '');
      await chmod(join(folder, tool), 0o755);
    }
    assert.is(await findPostgresTools({ GSV_TEST_PG_BIN: folder }), folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
