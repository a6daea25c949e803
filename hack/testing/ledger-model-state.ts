import { expire, type ModelGrant, type ModelHold, type ModelWallet } from './ledger-model.ts';

/** Times are whole seconds after this moment, short before a month ends. */
const START = Date.parse('2026-06-15T12:00:00Z');
export const SHOP = 'https://shop.example/graphql/';

export interface ModelUnit {
  id: string;
  wallet: ModelWallet;
  order: string;
  line: string;
  ordinal: number;
  paidThrough: number | undefined;
  renews: string | undefined;
  instanceUid: string | undefined;
  createdAt: number;
}

export interface GrantTerms {
  amount: number;
  kind: 'purchased' | 'included' | 'manual';
  priority: number;
  /** Seconds from the start; Infinity = never. */
  expiresAt: number;
  offerings?: readonly string[] | undefined;
  projects?: readonly string[] | undefined;
}

/** One call of the ledger. Holds, grants and fulfilments are named by the model's names for them. */
export type Op = { key: string; epoch: number | undefined } & (
  | {
      op: 'put';
      wallet: string;
      owner: string;
      floor: number;
      repayFirst: boolean;
      thresholds: readonly number[];
      caps: ModelWallet['caps'];
    }
  | { op: 'close'; wallet: string; forfeit: boolean }
  | { op: 'grant'; wallet: string; terms: GrantTerms }
  | {
      op: 'fulfilment';
      wallet: string;
      order: string;
      line: string;
      ordinal: number;
      grants: GrantTerms[];
      paidThrough: number | undefined;
      renews: { fulfilment: string; from: number } | undefined;
    }
  | { op: 'claim'; fulfilment: string; instanceUid: string }
  | { op: 'settle'; order: string; charged: number; total: number; asOf: number | undefined }
  | { op: 'revoke'; grant: string; amount: number | undefined }
  | {
      op: 'hold';
      wallet: string;
      amount: number;
      ttl: number;
      offering: string | undefined;
      project: string | undefined;
      instanceUid: string | undefined;
      maxConcurrent: number | undefined;
    }
  | { op: 'extend'; hold: string; ttl: number }
  | { op: 'capture'; hold: string; amounts: number[]; final: boolean }
  | { op: 'void'; hold: string }
  | { op: 'debit'; wallet: string; amounts: number[]; offering: string | undefined; project: string | undefined }
);

export interface ModelReply {
  status: number;
  body: Record<string, unknown>;
  replayed: boolean;
}

/** Everything the ledger knows. Plain data: it is copied to try another order of what was asked at once. */
export interface ModelBook {
  now: number;
  epoch: number;
  made: number;
  /** The open one of a name is the last. */
  wallets: ModelWallet[];
  units: ModelUnit[];
  words: Map<string, { charged: number; total: number; asOf: number }>;
  keys: Map<string, { payload: string; reply: ModelReply }>;
  announced: Set<string>;
}

export const newModel = (epoch: number): ModelBook => ({
  now: 0,
  epoch,
  made: 0,
  wallets: [],
  units: [],
  words: new Map(),
  keys: new Map(),
  announced: new Set(),
});

export const iso = (seconds: number): string => new Date(START + seconds * 1000).toISOString().replace('.000Z', 'Z');
export const dateOf = (seconds: number): Date => new Date(START + seconds * 1000);
export const secondsOf = (date: Date): number => (date.getTime() - START) / 1000;
export const monthOf = (seconds: number): string => iso(seconds).slice(0, 7);

export function pass(book: ModelBook, seconds: number): void {
  book.now += seconds;
  for (const wallet of book.wallets) if (wallet.open) expire(wallet, book.now);
}

/** The open wallet of that name, else the one closed last. */
export const walletOf = (book: ModelBook, name: string): ModelWallet | undefined =>
  book.wallets.findLast((wallet) => wallet.name === name);
export const allHolds = (book: ModelBook): ModelHold[] => book.wallets.flatMap(({ holds }) => holds);
export const allGrants = (book: ModelBook): ModelGrant[] => book.wallets.flatMap(({ grants }) => grants);

export const done = (status: number, body: Record<string, unknown>): ModelReply => ({ status, body, replayed: false });
export const refused = (status: number, code: string, extra: Record<string, unknown> = {}): ModelReply =>
  done(status, { code, ...extra });
export const closed = (): ModelReply => refused(409, 'wallet_closed');

export const linesOf = (amounts: readonly number[]) =>
  amounts.map((amount, index) => ({ dimension: `dimension-${index}`, units: amount * 2, amount }));

export function newGrant(book: ModelBook, terms: GrantTerms, fulfilment: string | undefined): ModelGrant {
  const { amount, kind, priority, expiresAt, offerings, projects } = terms;
  return {
    ...{ id: named(book, 'grant'), number: book.made, kind, amount, free: amount, held: 0, expired: 0, revoked: 0 },
    ...{ clawedBack: 0, priority, expiresAt, offerings, projects, fulfilment, restored: 0 },
    reclaimed: { writtenOff: 0, debt: 0, credits: 0 },
  };
}

export function named(book: ModelBook, what: string): string {
  book.made += 1;
  return `${what}#${book.made}`;
}
