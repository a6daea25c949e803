/** One wallet by the rules of the design, in plain numbers: what the ledger is compared with. */

export interface ModelGrant {
  number: number;
  amount: number;
  /** Neither held nor gone. */
  free: number;
  held: number;
  expired: number;
  /** Taken back, from wherever. */
  revoked: number;
  priority: number;
  /** Seconds; Infinity = never. */
  expiresAt: number;
  offering: string | undefined;
}

export interface ModelHold {
  state: 'open' | 'captured' | 'voided' | 'expired';
  expiresAt: number;
  offering: string | undefined;
  /** By grant; what is still reserved. */
  reserved: Map<ModelGrant, number>;
}

export interface ModelReply {
  status: number;
  code?: string;
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

export class ModelWallet {
  now = 0;
  debt = 0;
  writtenOff = 0;
  used = 0;
  readonly grants: ModelGrant[] = [];
  readonly holds: ModelHold[] = [];
  readonly floor: number;
  readonly repayFirst: boolean;

  constructor(policy: { floor: number; repayFirst: boolean }) {
    this.floor = policy.floor;
    this.repayFirst = policy.repayFirst;
  }

  get available(): number {
    return sum(this.grants.map(({ free }) => free));
  }

  get held(): number {
    return sum(this.grants.map(({ held }) => held));
  }

  /** Burn order: priority, earliest expiry, oldest. */
  inOrder(): ModelGrant[] {
    return this.grants.toSorted(
      (a, b) => a.priority - b.priority || compare(a.expiresAt, b.expiresAt) || a.number - b.number,
    );
  }

  pass(seconds: number): void {
    this.now += seconds;
    for (const hold of this.holds) {
      if (hold.state === 'open' && hold.expiresAt <= this.now) this.#end(hold, 'expired');
    }
    for (const grant of this.grants) this.#expire(grant);
  }

  grant(amount: number, priority: number, lifetime: number, offering: string | undefined): ModelReply {
    const grant: ModelGrant = {
      number: this.grants.length,
      amount,
      free: amount,
      held: 0,
      expired: 0,
      revoked: 0,
      priority,
      expiresAt: this.now + lifetime,
      offering,
    };
    this.grants.push(grant);
    this.#expire(grant);
    if (this.repayFirst) {
      const repaid = Math.min(this.debt, grant.free);
      grant.free -= repaid;
      this.debt -= repaid;
    }
    return { status: 201 };
  }

  hold(amount: number, ttl: number, offering: string | undefined): ModelReply {
    if (amount > this.#usable(offering)) return { status: 402, code: 'insufficient_credits' };
    const reserved = new Map<ModelGrant, number>();
    this.#take(amount, offering, (grant, part) => {
      grant.held += part;
      reserved.set(grant, part);
    });
    this.holds.push({ state: 'open', expiresAt: this.now + ttl, offering, reserved });
    return { status: 201 };
  }

  capture(hold: ModelHold, amount: number, final: boolean): ModelReply {
    if (hold.state !== 'open') return { status: 409, code: `already_${hold.state}` };
    let rest = amount;
    for (const grant of this.inOrder()) {
      const part = Math.min(rest, hold.reserved.get(grant) ?? 0);
      hold.reserved.set(grant, (hold.reserved.get(grant) ?? 0) - part);
      grant.held -= part;
      rest -= part;
    }
    const extra = Math.min(rest, this.#usable(hold.offering));
    this.#take(extra, hold.offering, () => undefined);
    rest -= extra;
    const owed = Math.min(rest, Math.max(0, -this.floor - this.debt));
    this.debt += owed;
    this.writtenOff += rest - owed;
    this.used += amount;
    if (final) this.#end(hold, 'captured');
    return { status: 200 };
  }

  void(hold: ModelHold): ModelReply {
    if (hold.state !== 'open') return { status: 409, code: `already_${hold.state}` };
    this.#end(hold, 'voided');
    return { status: 200 };
  }

  extend(hold: ModelHold, ttl: number): ModelReply {
    if (hold.state !== 'open') return { status: 409, code: `already_${hold.state}` };
    hold.expiresAt = Math.max(hold.expiresAt, this.now + ttl);
    return { status: 200 };
  }

  debit(amount: number, offering: string | undefined): ModelReply {
    if (amount > this.#usable(offering)) return { status: 402, code: 'insufficient_credits' };
    this.#take(amount, offering, () => undefined);
    this.used += amount;
    return { status: 201 };
  }

  revoke(grant: ModelGrant, amount: number): ModelReply {
    if (amount > grant.amount - grant.revoked) return { status: 422, code: 'invalid_request' };
    grant.revoked += amount;
    const free = Math.min(amount, grant.free);
    grant.free -= free;
    const expired = Math.min(amount - free, grant.expired);
    grant.expired -= expired;
    const rest = amount - free - expired;
    const owed = Math.min(rest, Math.max(0, -this.floor - this.debt));
    this.debt += owed;
    this.writtenOff += rest - owed;
    return { status: 200 };
  }

  #usable(offering: string | undefined): number {
    return sum(this.grants.filter((grant) => mayUse(grant, offering)).map(({ free }) => free));
  }

  #take(amount: number, offering: string | undefined, each: (grant: ModelGrant, part: number) => void): void {
    let rest = amount;
    for (const grant of this.inOrder().filter((candidate) => mayUse(candidate, offering))) {
      const part = Math.min(rest, grant.free);
      if (part === 0) continue;
      grant.free -= part;
      rest -= part;
      each(grant, part);
    }
  }

  #end(hold: ModelHold, state: ModelHold['state']): void {
    for (const [grant, part] of hold.reserved) {
      grant.held -= part;
      grant.free += part;
      this.#expire(grant);
    }
    hold.reserved.clear();
    hold.state = state;
  }

  #expire(grant: ModelGrant): void {
    if (grant.expiresAt > this.now) return;
    grant.expired += grant.free;
    grant.free = 0;
  }
}

const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

const mayUse = (grant: ModelGrant, offering: string | undefined): boolean =>
  grant.offering === undefined || grant.offering === offering;
