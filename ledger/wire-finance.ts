import type { Page } from './wire.ts';

/** JSON bodies of settlements and statements, as types only; see `wire.ts`. */

/** What the shop says about an order's money, in minor units of its currency; only the ratio counts. */
export interface SettleBody {
  charged: number;
  total: number;
  /** When that was so; a word older than the latest changes nothing. Absent: now, whatever was said. */
  asOf?: string | undefined;
}

/** The latest word about an order, and what the settlement moved; amounts are microcredits of all its wallets. */
export interface Settlement {
  shop: string;
  order: string;
  charged: number;
  total: number;
  asOf: string;
  /** What the fulfilments of the order granted. */
  granted: number;
  /** granted x charged / total, rounded up. */
  kept: number;
  takenBack: number;
  /** Of `takenBack`: what had been spent, now owed. */
  debt: number;
  /** Of `takenBack`: what nobody pays, below the wallet's floor. */
  writtenOff: number;
  givenBack: number;
}

/** One step of a wallet's money. Amounts are microcredits; `balance` is available plus held. */
export interface StatementItem {
  at: string;
  transaction: string;
  operation: string;
  /** Signed: what came into, or left, available and held together. */
  change: number;
  /** Signed: by how much more is owed. */
  debtChange: number;
  /** After this step. */
  balance: number;
  debt: number;
  hold?: string;
  receipt?: string;
  runId?: string;
  instance?: string;
  offering?: string;
  project?: string;
  shop?: string;
  order?: string;
  line?: string;
  commit?: string;
  contractDigest?: string;
  traceId?: string;
  reason?: string;
}

export interface Statement extends Page<StatementItem> {
  wallet: string;
  from?: string;
  to?: string;
  opening: { balance: number; debt: number };
  closing: { balance: number; debt: number };
}

/** One order: what is paid of it, in minor units of the shop's currency, and what of its credits stays. */
export interface OrderStatementItem {
  shop: string;
  order: string;
  /** When its first unit was recorded. */
  recordedAt: string;
  units: number;
  /** Absent while nobody has said what is paid. */
  charged?: number;
  total?: number;
  asOf?: string;
  /** Microcredits, like all that follows. */
  granted: number;
  takenBack: number;
  kept: number;
  /** Of what it keeps: not spent yet. */
  remaining: number;
}

export interface OrderStatement extends Page<OrderStatementItem> {
  /** Of the whole period, whatever the page. `unconfirmed`: orders of which nobody has said what is paid. */
  totals: { orders: number; unconfirmed: number; granted: number; takenBack: number; kept: number };
}

/** One account over a period. Amounts are microcredits, signed as they are booked. */
export interface AccountStatementItem {
  /** `store/<kind>`, `store/usage/<offering>`, or `wallets/<kind>` for all wallets together. */
  account: string;
  opening: number;
  change: number;
  closing: number;
  /** What `change` consists of. */
  operations: Record<string, number>;
}

/** The trial balance. Each column sums to zero. */
export interface AccountStatement {
  from?: string;
  to?: string;
  items: AccountStatementItem[];
}
