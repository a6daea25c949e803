import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Application } from '../../../crds/kinds.ts';
import { StoreError } from '../../../crds/store.ts';
import { Exhaustion } from './exhaustion.ts';
import { REFRESH_ANNOTATION, Refresher } from './refresher.ts';

const application = (annotations?: Record<string, string>) =>
  ({ metadata: { name: 'a', namespace: 'argocd', annotations } }) as unknown as Application;

function refresher(failure?: Error) {
  const given = { now: 0, hints: 0 };
  const annotate = async () => {
    given.hints += 1;
    if (failure) throw failure;
  };
  return { given, refresher: new Refresher({ annotate }, () => given.now) };
}

test('a commit that was not told is told at once, the same again only later', async () => {
  const { given, refresher: hints } = refresher();
  for (const commit of ['c', 'c', 'd', 'c', 'd']) await hints.ask(application(), commit);
  assert.is(given.hints, 2);
  given.now = 5_000;
  for (const commit of ['c', 'd', 'c', 'd']) await hints.ask(application(), commit);
  assert.is(given.hints, 3);
  given.now = 12_000;
  await hints.ask(application(), 'c', 30_000);
  assert.is(given.hints, 3);
});

test('a hundred that ask at the same time share one hint', async () => {
  const { given, refresher: hints } = refresher();
  await Promise.all(Array.from({ length: 100 }, (_, at) => hints.ask(application(), `c${at}`)));
  assert.is(given.hints, 1);
});

test('a hint that was not read yet is enough', async () => {
  const { given, refresher: hints } = refresher();
  await hints.ask(application({ [REFRESH_ANNOTATION]: 'normal' }), 'c');
  assert.is(given.hints, 0);
});

test('an Application that has gone is no error, a refusal is one and is tried again', async () => {
  await refresher(new StoreError('NotFound', 'gone')).refresher.ask(application(), 'c');
  const { given, refresher: hints } = refresher(new StoreError('Forbidden', 'no'));
  for (let twice = 0; twice < 2; twice++) {
    const error = await hints.ask(application(), 'c').then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.instance(error, StoreError);
  }
  assert.is(given.hints, 2);
});

test('given up commits are made anew at once, then after pauses that double to a limit', () => {
  let now = 0;
  const exhaustion = new Exhaustion(() => now);
  const pauses: number[] = [];
  for (let count = 0; count < 8; count++) {
    const since = now;
    while (!exhaustion.isDue('a', `r${count}`)) now += 1_000;
    pauses.push((now - since) / 60_000);
  }
  assert.equal(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
  exhaustion.over('a');
  assert.ok(exhaustion.isDue('a', 'later'));
  assert.ok(exhaustion.isDue('b', 'r0'), 'another Application counts for itself');
});
