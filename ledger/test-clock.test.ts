/** Time is an input: a test moves it, and a restored book replays as it was. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';

const CLOCK =
  /\b(now\s*\(\)|current_(timestamp|date|time)\b|localtime(stamp)?\b|(clock|statement|transaction)_timestamp\s*\()/i;

/** SQL without its comments, so that a sentence may name what the code must not call. */
const withoutComments = (sql: string): string => sql.replaceAll(/--[^\n]*/g, '');

test('no migration asks the database for the time', () => {
  const folder = join(import.meta.dirname, 'migrations');
  const files = globSync('*.sql', { cwd: folder });
  assert.ok(files.length > 7);
  const asking = files.filter((file) => CLOCK.test(withoutComments(readFileSync(join(folder, file), 'utf8'))));
  assert.equal(asking, []);
});

test('control: a migration that did would be found', () => {
  for (const sql of ['default now()', 'select CURRENT_DATE', 'clock_timestamp()']) assert.match(sql, CLOCK);
  assert.not.match(withoutComments('select 1 -- never now()'), CLOCK);
});
