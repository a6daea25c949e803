import { after, before, describe } from 'node:test';
import type { ResourceStore } from '../store.ts';
import { defined } from './contract-fixtures.ts';
import { foreign } from './contract-foreign.ts';
import { deleting, namespaces, reading, watching } from './contract-life.ts';
import { refusing, statuses, writing } from './contract-writes.ts';

export interface ContractOptions {
  /**
   * Whether somebody empties Namespaces that are deleted. A bare API server without its controller
   * manager leaves them as they are; then those promises are not asked for.
   */
  emptiesNamespaces?: boolean;
}

type Opened = { store: ResourceStore; close: () => Promise<void> };

/**
 * Every promise of the resource store port, as tests for any adapter. The objects are valid for the
 * real CRDs, names are unique, and nothing is asked that an API server does not do.
 */
export function resourceStoreContract(name: string, open: () => Promise<Opened>, options: ContractOptions = {}): void {
  describe(`resource store contract: ${name}`, () => {
    let opened: Opened | undefined;
    const store = (): ResourceStore => defined(opened).store;
    before(async () => {
      opened = await open();
    });
    after(async () => {
      await opened?.close();
    });
    writing(store);
    refusing(store);
    reading(store);
    statuses(store);
    deleting(store);
    watching(store);
    foreign(store);
    namespaces(store, options.emptiesNamespaces ?? true);
  });
}
