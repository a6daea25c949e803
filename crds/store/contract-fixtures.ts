import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { type ResourceStore, StoreError } from '../store.ts';

export const WRITER = { fieldManager: 'contract-suite' };
export const FINALIZER = 'store.gsv.dev/contract-suite';
/** Watches and Namespace deletion are asynchronous; a namespace controller looks again after 8 s. Milliseconds. */
const PATIENCE_MS = 30_000;

/** Unique, so that suites can share one API server and be run again. */
export const unique = (prefix: string): string => `${prefix}-${randomBytes(5).toString('hex')}`;

export const organization = (name: string, title = 'Suite', more: { labels?: Record<string, string> } = {}) => ({
  metadata: { name, ...more },
  spec: { display: { title } },
});

export const condition = {
  type: 'Ready',
  status: 'True' as const,
  reason: 'Succeeded',
  message: 'It is ready.',
  observedGeneration: 1,
  lastTransitionTime: '2026-01-01T00:00:00Z',
};

export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it never came true that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Runs the action and returns the StoreError that it must end with. */
export async function refused(code: StoreError['code'], action: () => Promise<unknown>): Promise<StoreError> {
  try {
    await action();
  } catch (error) {
    assert.instance(error, StoreError);
    assert.is((error as StoreError).code, code, (error as StoreError).message);
    return error as StoreError;
  }
  throw new Error(`expected a StoreError ${code}`);
}

export function defined<T>(value: T | undefined): T {
  assert.ok(value !== undefined, 'expected an object');
  return value as T;
}

export type GetStore = () => ResourceStore;

export async function makeNamespace(store: ResourceStore): Promise<string> {
  const name = unique('suite');
  await store.create('Namespace', { metadata: { name }, spec: {} });
  return name;
}
