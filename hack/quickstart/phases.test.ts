import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { Stopwatch } from './phases.ts';

test('what ends after the stop is neither told nor counted: the last line stays the last', () => {
  const told: string[] = [];
  const watch = new Stopwatch(({ name }, detail) => told.push(`${name} ${detail}`));
  watch.end('order', 'stored');
  watch.stop();
  watch.end('credits', 'too late');
  assert.equal(told, ['order stored']);
  assert.equal(
    watch.phases.map(({ name }) => name),
    ['order'],
  );
});

test('a phase that ended long ago takes no time, and none ends in the future', () => {
  const watch = new Stopwatch(() => {});
  watch.end('order', '', '2000-01-01T00:00:00Z');
  watch.end('credits', '', '2999-01-01T00:00:00Z');
  const [order, credits] = watch.phases;
  assert.is(order?.ms, 0);
  assert.ok((credits?.ms ?? -1) >= 0 && (credits?.ms ?? 0) <= performance.now());
});
