import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { keyText } from '../../crds/store.ts';
import { onDesiredChange, onDigestChange, ReferenceIndex, readinessDigest } from './source.ts';

const KEY = { name: 'p' };
const SPEC = { sku: 'A', amountMicrocredits: 1, kind: 'Purchased' as const };
const turn = async () => {
  for (let each = 0; each < 5; each++) await new Promise((resolve) => setImmediate(resolve));
};

async function withStore(run: (store: EmbeddedStore, write: (spec?: object) => Promise<void>) => Promise<void>) {
  const store = await EmbeddedStore.open();
  try {
    await run(store, async (spec = {}) => {
      await store.apply('CreditPack', { metadata: KEY, spec: { ...SPEC, ...spec } }, { fieldManager: 'test' });
      await turn();
    });
  } finally {
    await store.close();
  }
}

const ready = (status: 'True' | 'False', message = '') => ({
  observedGeneration: 1,
  conditions: [{ type: 'Ready', status, reason: 'Succeeded', message, lastTransitionTime: '2026-01-01T00:00:00Z' }],
});

test('a key is woken by spec, annotations and removal, and never by our own status', () =>
  withStore(async (store, write) => {
    const woken: string[] = [];
    onDesiredChange(store.watch('CreditPack'), (key) => woken.push(key));
    await write();
    assert.equal(woken, ['p']);
    await store.applyStatus('CreditPack', KEY, ready('True'), { fieldManager: 'test' });
    await turn();
    assert.equal(woken, ['p']);
    await write({ amountMicrocredits: 2 });
    assert.equal(woken, ['p', 'p']);
    const annotated = { ...KEY, annotations: { 'store.gsv.dev/now': 'x' } };
    const spec = { ...SPEC, amountMicrocredits: 2 };
    await store.apply('CreditPack', { metadata: annotated, spec }, { fieldManager: 'test' });
    await turn();
    assert.is(woken.length, 3);
    await store.delete('CreditPack', KEY);
    await turn();
    assert.is(woken.length, 4);
    await write();
    assert.is(woken.length, 5);
  }));

test('a dependent is woken when readiness turns, not when a message changes', () =>
  withStore(async (store, write) => {
    let woken = 0;
    const end = onDigestChange(store.watch('CreditPack'), readinessDigest, () => woken++);
    await write();
    for (const status of [ready('False', 'a'), ready('False', 'b'), ready('True')]) {
      await store.applyStatus('CreditPack', KEY, status, { fieldManager: 'test' });
      await turn();
    }
    assert.is(woken, 3);
    end();
    await write({ amountMicrocredits: 9 });
    assert.is(woken, 3);
  }));

test('the reference index follows changes and removals', () =>
  withStore(async (store, write) => {
    const index = new ReferenceIndex(store.watch('CreditPack'), ({ spec }) => spec.scope?.offerings ?? []);
    await write({ scope: { offerings: ['x', 'y'] } });
    assert.equal([index.referring('x'), index.referring('y')], [[keyText(KEY)], [keyText(KEY)]]);
    await write({ scope: { offerings: ['y'] } });
    assert.equal([index.referring('x'), index.referring('y')], [[], ['p']]);
    await store.delete('CreditPack', KEY);
    await turn();
    assert.equal(index.referring('y'), []);
    index.close();
  }));
