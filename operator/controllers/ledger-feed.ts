import { organizationNamespace } from '../../crds/kinds.ts';
import type { Key } from '../../crds/store.ts';
import type { LedgerEvent } from '../../ledger/client.ts';
import { splitLedgerWallet } from '../steps/names.ts';

/** What besides `wallet.*` changes what the Instances of a wallet may do. */
const WALLET_EVENTS: ReadonlySet<string> = new Set(['grant.revoked', 'fulfilment.renewed']);

/** What the ledger's events mean to controllers: who is to be looked at again, and when a first result was charged. */
export class LedgerFeed {
  readonly #firstReceipts = new Map<string, string>();
  readonly #receiptListeners = new Set<(instanceUid: string) => void>();
  readonly #walletListeners = new Set<(wallet: Key) => void>();

  /** Takes one event; unknown types are for other readers. */
  handle(event: LedgerEvent): void {
    if (event.type === 'receipt.first') this.#firstReceipt(event);
    if (event.type.startsWith('wallet.') || WALLET_EVENTS.has(event.type)) this.#wallet(event);
  }

  /** RFC 3339 time of the Instance's first charged run, if the feed has told of one. */
  firstReceiptOf(instanceUid: string): string | undefined {
    return this.#firstReceipts.get(instanceUid);
  }

  onFirstReceipt(listener: (instanceUid: string) => void): () => void {
    this.#receiptListeners.add(listener);
    return () => this.#receiptListeners.delete(listener);
  }

  onWallet(listener: (wallet: Key) => void): () => void {
    this.#walletListeners.add(listener);
    return () => this.#walletListeners.delete(listener);
  }

  #firstReceipt({ data, at }: LedgerEvent): void {
    const { instanceUid } = data;
    if (typeof instanceUid !== 'string' || this.#firstReceipts.has(instanceUid)) return;
    this.#firstReceipts.set(instanceUid, at);
    for (const listener of this.#receiptListeners) listener(instanceUid);
  }

  #wallet({ wallet }: LedgerEvent): void {
    const names = splitLedgerWallet(wallet);
    if (names === undefined) return;
    const key = { namespace: organizationNamespace(names.organization), name: names.wallet };
    for (const listener of this.#walletListeners) listener(key);
  }
}
