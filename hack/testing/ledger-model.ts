/**
 * The rules of one wallet's money, by the design and in plain numbers: what the ledger is compared with. Functions on
 * plain data, so that a state can be copied and another order of the same operations be tried on it.
 */

export interface ModelGrant {
  id: string;
  /** Order of creation. */
  number: number;
  kind: string;
  amount: number;
  /** Neither held nor gone. */
  free: number;
  held: number;
  expired: number;
  /** Taken back unspent. */
  revoked: number;
  /** Taken back after it was spent. */
  clawedBack: number;
  priority: number;
  /** Seconds; Infinity = never. */
  expiresAt: number;
  offerings: readonly string[] | undefined;
  projects: readonly string[] | undefined;
  fulfilment: string | undefined;
  /** What settlements hold back, by where it was taken, and what they issued again. */
  reclaimed: { writtenOff: number; debt: number; credits: number };
  restored: number;
}

export interface ModelHold {
  id: string;
  wallet: string;
  state: 'open' | 'captured' | 'voided' | 'expired';
  amount: number;
  expiresAt: number;
  offering: string | undefined;
  project: string | undefined;
  instanceUid: string | undefined;
  /** By grant; what is still reserved. */
  reserved: Map<ModelGrant, number>;
  receipt: string | undefined;
}

export interface ModelEvent {
  type: string;
  data: Record<string, unknown>;
}

export interface ModelWallet {
  name: string;
  owner: string;
  open: boolean;
  floor: number;
  repayFirst: boolean;
  thresholds: readonly number[];
  caps: readonly { project: string; amount: number }[];
  debt: number;
  grants: ModelGrant[];
  holds: ModelHold[];
  /** By project and month. */
  spent: Map<string, number>;
  /** Since somebody has looked last. */
  events: ModelEvent[];
}

export interface ModelScope {
  offering?: string | undefined;
  project?: string | undefined;
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

export const availableOf = ({ grants }: ModelWallet): number => sum(grants.map(({ free }) => free));
export const heldOf = ({ grants }: ModelWallet): number => sum(grants.map(({ held }) => held));
const fundsOf = (wallet: ModelWallet): number => availableOf(wallet) + heldOf(wallet);

/** Burn order: priority, earliest expiry, oldest. */
export function inBurnOrder(grants: readonly ModelGrant[]): ModelGrant[] {
  return grants.toSorted((a, b) => a.priority - b.priority || compare(a.expiresAt, b.expiresAt) || a.number - b.number);
}

/** What is over at that time: holds first, each to its grants, then what is free of grants. */
export function expire(wallet: ModelWallet, now: number): void {
  announcing(wallet, () => {
    const over = wallet.holds.filter((hold) => hold.state === 'open' && hold.expiresAt <= now);
    for (const hold of over.toSorted((a, b) => a.expiresAt - b.expiresAt)) {
      release(hold, now);
      hold.state = 'expired';
      const { id, amount, instanceUid } = hold;
      announce(wallet, 'hold.expired', { hold: id, amount, ...(instanceUid ? { instanceUid } : {}) });
    }
    for (const grant of wallet.grants) toBreakage(grant, now);
  });
}

/** Runs a change and then announces what it did to the wallet's funds. */
export function announcing<T>(wallet: ModelWallet, change: () => T): T {
  const before = fundsOf(wallet);
  const result = change();
  const after = fundsOf(wallet);
  const [available, held] = [availableOf(wallet), heldOf(wallet)];
  if (after < before) {
    for (const threshold of wallet.thresholds.toSorted((a, b) => b - a)) {
      if (before >= threshold && after < threshold) announce(wallet, 'wallet.low', { threshold, available, held });
    }
    if (after === 0) announce(wallet, 'wallet.exhausted', { available: 0, debt: wallet.debt });
  } else if (after > before && (before === 0 || wallet.thresholds.some((t) => before < t && after >= t))) {
    announce(wallet, 'wallet.recovered', { available, held });
  }
  return result;
}

export function announce(wallet: ModelWallet, type: string, data: Record<string, unknown>): void {
  wallet.events.push({ type, data });
}

/** Adds a grant; it pays debt first where the policy says so, and one that is over already is breakage. */
export function addGrant(wallet: ModelWallet, grant: ModelGrant, now: number): void {
  wallet.grants.push(grant);
  toBreakage(grant, now);
  if (!wallet.repayFirst) return;
  const repaid = Math.min(wallet.debt, grant.free);
  grant.free -= repaid;
  wallet.debt -= repaid;
}

/** What this scope may spend: of its grants, and of its project's month. */
export function affordable(wallet: ModelWallet, scope: ModelScope, month: string): number {
  const caps = wallet.caps.filter(({ project }) => project === scope.project).map(({ amount }) => amount);
  const running = wallet.holds.filter(({ state, project }) => state === 'open' && project === scope.project);
  const gone = (wallet.spent.get(`${scope.project} ${month}`) ?? 0) + sum(running.map(({ amount }) => amount));
  return Math.min(usable(wallet, scope), ...caps.map((cap) => Math.max(0, cap - gone)));
}

export function spend(wallet: ModelWallet, project: string | undefined, month: string, amount: number): void {
  if (project === undefined) return;
  wallet.spent.set(`${project} ${month}`, (wallet.spent.get(`${project} ${month}`) ?? 0) + amount);
}

/** Takes what is available to a scope, in burn order. */
export function take(
  wallet: ModelWallet,
  scope: ModelScope,
  amount: number,
  each: (grant: ModelGrant, part: number) => void = () => undefined,
): void {
  let rest = amount;
  for (const grant of inBurnOrder(wallet.grants).filter((candidate) => mayUse(candidate, scope))) {
    const part = Math.min(rest, grant.free);
    if (part === 0) continue;
    grant.free -= part;
    rest -= part;
    each(grant, part);
  }
}

export interface Overrun {
  fromAvailable: number;
  debt: number;
  writtenOff: number;
}

/** Charges an open hold: what it reserves, then what is available to its scope, then debt, then a write-off. */
export function charge(wallet: ModelWallet, hold: ModelHold, amount: number): Overrun {
  let rest = amount;
  for (const grant of inBurnOrder([...hold.reserved.keys()])) {
    const reserved = hold.reserved.get(grant) ?? 0;
    const part = Math.min(rest, reserved);
    hold.reserved.set(grant, reserved - part);
    grant.held -= part;
    rest -= part;
  }
  const fromAvailable = Math.min(rest, usable(wallet, hold));
  take(wallet, hold, fromAvailable);
  return { fromAvailable, ...owe(wallet, rest - fromAvailable) };
}

/** Debt down to the floor; nobody pays what is below it. */
function owe(wallet: ModelWallet, amount: number): { debt: number; writtenOff: number } {
  const debt = Math.min(amount, Math.max(0, -wallet.floor - wallet.debt));
  wallet.debt += debt;
  return { debt, writtenOff: amount - debt };
}

/** Gives back what a hold still reserves. */
export function release(hold: ModelHold, now: number): void {
  for (const [grant, part] of hold.reserved) {
    grant.held -= part;
    grant.free += part;
    toBreakage(grant, now);
  }
  hold.reserved.clear();
}

/** What may still be taken back of a grant. */
export const leftOf = ({ amount, revoked, clawedBack }: ModelGrant): number => amount - revoked - clawedBack;

/** Takes back of one grant: what is free, what has expired, then what is spent or held. */
export function revoke(wallet: ModelWallet, grant: ModelGrant, amount: number): Record<string, number> {
  const free = Math.min(amount, grant.free);
  const expired = Math.min(amount - free, grant.expired);
  grant.free -= free;
  grant.expired -= expired;
  grant.revoked += free + expired;
  const spent = amount - free - expired;
  grant.clawedBack += spent;
  const { debt, writtenOff } = owe(wallet, spent);
  return { revoked: free + expired, debt, ...(writtenOff > 0 ? { writtenOff } : {}) };
}

/** Takes back of an order's grants: all that is free in reverse burn order, then what has expired, then what is spent. */
export function takeBack(wallet: ModelWallet, order: string, grants: ModelGrant[], amount: number): Overrun {
  const reverse = inBurnOrder(grants).reverse();
  const total = { fromAvailable: 0, debt: 0, writtenOff: 0 };
  let rest = amount;
  const tell = (grant: ModelGrant, revoked: number, debt: number, writtenOff: number): void => {
    const data = { grant: grant.id, order, revoked, debt, ...(writtenOff > 0 ? { writtenOff } : {}) };
    announce(wallet, 'grant.revoked', data);
  };
  // What each may give is fixed before the first gives.
  const parts = reverse.map((grant) => {
    const free = Math.min(grant.free, leftOf(grant));
    const expired = Math.min(grant.expired, leftOf(grant) - free);
    return { grant, free, expired, spent: leftOf(grant) - free - expired };
  });
  for (const from of ['free', 'expired'] as const) {
    for (const entry of parts) {
      const part = Math.min(rest, entry[from]);
      if (part === 0) continue;
      entry.grant[from] -= part;
      entry.grant.revoked += part;
      entry.grant.reclaimed.credits += part;
      rest -= part;
      tell(entry.grant, part, 0, 0);
    }
  }
  for (const { grant, spent } of parts) {
    const part = Math.min(rest, spent);
    if (part === 0) continue;
    const { debt, writtenOff } = owe(wallet, part);
    grant.clawedBack += part;
    grant.reclaimed.debt += debt;
    grant.reclaimed.writtenOff += writtenOff;
    total.debt += debt;
    total.writtenOff += writtenOff;
    rest -= part;
    tell(grant, 0, debt, writtenOff);
  }
  return total;
}

/** Undoes what settlements took, last taken first: write-offs, then debt (or credits, where it is paid), then credits. */
export function giveBack(wallet: ModelWallet, grants: ModelGrant[], amount: number, now: number): void {
  let rest = amount;
  for (const from of ['writtenOff', 'debt', 'credits'] as const) {
    for (const grant of inBurnOrder(grants)) {
      const part = Math.min(rest, grant.reclaimed[from]);
      rest -= part;
      grant.reclaimed[from] -= part;
      grant.restored += part;
      grant.amount += part;
      if (from === 'writtenOff') continue;
      const repaid = from === 'debt' ? Math.min(part, wallet.debt) : 0;
      wallet.debt -= repaid;
      grant.free += part - repaid;
      toBreakage(grant, now);
    }
  }
}

function usable(wallet: ModelWallet, scope: ModelScope): number {
  return sum(wallet.grants.filter((grant) => mayUse(grant, scope)).map(({ free }) => free));
}

function mayUse({ offerings, projects }: ModelGrant, { offering, project }: ModelScope): boolean {
  const within = (list: readonly string[] | undefined, name: string | undefined): boolean =>
    list === undefined || (name !== undefined && list.includes(name));
  return within(offerings, offering) && within(projects, project);
}

function toBreakage(grant: ModelGrant, now: number): void {
  if (grant.expiresAt > now) return;
  grant.expired += grant.free;
  grant.free = 0;
}

const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
