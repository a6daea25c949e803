import {
  type Fulfilment,
  type Hold,
  LedgerError,
  type LedgerEvent,
  type Wallet as LedgerWallet,
  type Page,
  type WalletBody,
} from '../../../ledger/client.ts';
import type { LedgerPort } from '../../../operator/ports.ts';

/** The calls that the operator makes, with the ledger's refusals; credits appear only when a test puts them there. */
export class FakeLedger implements LedgerPort {
  readonly wallets = new Map<string, LedgerWallet & { body: WalletBody }>();
  readonly fulfilments: Fulfilment[] = [];
  readonly feed: LedgerEvent[] = [];
  /** Open holds by id, with the Instance that they are for. */
  readonly holds = new Map<string, string>();
  /** `key` of each void, in order. */
  readonly voids: string[] = [];
  unavailable = false;
  #wake: (() => void)[] = [];

  credit(name: string, available: number): void {
    const wallet = this.#wallet(name);
    wallet.available = available;
  }

  pay(unit: Omit<Fulfilment, 'fulfilment' | 'createdAt' | 'sku'> & { createdAt?: string }): Fulfilment {
    const id = `fulfilment_${this.fulfilments.length + 1}`;
    const made = { sku: 'SKU', createdAt: '2025-12-31T23:59:58Z', ...unit, fulfilment: id };
    this.fulfilments.push(made);
    return made;
  }

  emit(type: string, wallet: string, data: Record<string, unknown> = {}, at = '2026-01-01T01:00:00Z'): void {
    this.feed.push({ seq: this.feed.length + 1, type, wallet, at, data });
    for (const wake of this.#wake.splice(0)) wake();
  }

  async putWallet(name: string, body: WalletBody): Promise<LedgerWallet> {
    this.#require();
    const present = this.wallets.get(name);
    if (present && present.state === 'open' && present.ownerUid !== body.ownerUid) throw refusal(409, 'owner_mismatch');
    if (present?.ownerUid === body.ownerUid) return Object.assign(present, { body });
    const fresh = { wallet: name, ownerUid: body.ownerUid, state: 'open' as const, available: 0, held: 0, debt: 0 };
    this.wallets.set(name, { ...fresh, grants: [], body });
    return this.#wallet(name);
  }

  async getWallet(name: string): Promise<LedgerWallet> {
    this.#require();
    return this.#wallet(name);
  }

  async closeWallet(name: string): Promise<LedgerWallet & { replayed: boolean }> {
    this.#require();
    const wallet = this.#wallet(name);
    if (wallet.available > 0 || wallet.held > 0) throw refusal(409, 'wallet_not_empty');
    wallet.state = 'closed';
    return { ...wallet, replayed: false };
  }

  async findFulfilments(query: Partial<Fulfilment>): Promise<Fulfilment[]> {
    this.#require();
    const { shop, order, line, ordinal } = query;
    return this.fulfilments
      .filter(
        (each) =>
          (shop === undefined || each.shop === shop) &&
          (order === undefined || each.order === order) &&
          (line === undefined || each.line === line) &&
          (ordinal === undefined || each.ordinal === ordinal),
      )
      .map((each) => ({ ...each }));
  }

  async claimFulfilment(id: string, { instanceUid }: { instanceUid: string }): Promise<Fulfilment> {
    this.#require();
    const unit = this.fulfilments.find((each) => each.fulfilment === id);
    if (unit === undefined) throw refusal(404, 'fulfilment_not_found');
    if (unit.instanceUid !== undefined && unit.instanceUid !== instanceUid) throw refusal(409, 'already_claimed');
    unit.instanceUid = instanceUid;
    return { ...unit };
  }

  async listHolds({ instanceUid, limit = 100 }: { instanceUid: string; limit?: number }): Promise<Page<Hold>> {
    this.#require();
    const items = [...this.holds].filter(([, uid]) => uid === instanceUid).slice(0, limit);
    const open = { wallet: 'acme.main', amount: 1, state: 'open' as const, expiresAt: '2026-01-02T00:00:00Z' };
    return { items: items.map(([hold]) => ({ hold, instanceUid, ...open, context: {} })), next: null };
  }

  async voidHold(hold: string, _body: { reason?: string | undefined }, key: string) {
    this.#require();
    if (!this.holds.delete(hold)) throw refusal(409, 'already_voided');
    this.voids.push(key);
    return { hold, state: 'voided' as const, released: 1, replayed: false };
  }

  async events(query: { after: number; waitSeconds?: number; signal?: AbortSignal }) {
    this.#require();
    if ((query.waitSeconds ?? 0) > 0 && this.feed.length <= query.after)
      await new Promise<void>((resolve, reject) => {
        this.#wake.push(resolve);
        query.signal?.addEventListener('abort', () => reject(query.signal?.reason), { once: true });
      });
    const events = this.feed.filter(({ seq }) => seq > query.after);
    return { events, next: events.at(-1)?.seq ?? query.after };
  }

  #wallet(name: string) {
    const wallet = this.wallets.get(name);
    if (wallet === undefined) throw refusal(404, 'wallet_not_found');
    return wallet;
  }

  #require(): void {
    if (this.unavailable) throw new LedgerError(0, 'ledger_unavailable', 'the ledger does not answer', {});
  }
}

function refusal(status: number, code: string): LedgerError {
  return new LedgerError(status, code, code, {});
}
