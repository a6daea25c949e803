/**
 * The JSON bodies of the ledger's HTTP API, as types only, so that the client drags nothing of the
 * ledger into other processes. Every amount is an integer count of microcredits within 2^53; every
 * time is RFC 3339 UTC. The route schemas are the runtime side of the same shapes.
 */

export type GrantKind = 'purchased' | 'included' | 'trial' | 'promotional' | 'manual';
export type HoldState = 'open' | 'captured' | 'voided' | 'expired';
export type InboxState = 'pending' | 'deferred' | 'ignored' | 'claimed' | 'done' | 'parked';

/** What a grant may be spent on; an absent list means "on everything". */
export interface GrantScope {
  offerings?: string[] | undefined;
  projects?: string[] | undefined;
}

/** `floor` (<= 0) bounds debt from overruns and refunds; `repayFirst` lets new grants pay debt first. */
export interface DebtPolicy {
  floor?: number | undefined;
  repayFirst?: boolean | undefined;
}

export interface WalletBody {
  ownerUid: string;
  debtPolicy?: DebtPolicy | undefined;
  /** Amounts of `available`; falling below one emits `wallet.low`. */
  thresholds?: number[] | undefined;
  /** Most that one project may spend in a calendar month (UTC). */
  caps?: { project: string; amount: number }[] | undefined;
}

export interface WalletGrant {
  grant: string;
  kind: GrantKind;
  priority: number;
  expiresAt: string | null;
  scope: GrantScope | null;
  amount: number;
  /** Includes the grant's own `held`. */
  remaining: number;
  held: number;
}

export interface Wallet {
  wallet: string;
  ownerUid: string;
  state?: 'open' | 'closed';
  /** Excludes what is held; never negative. */
  available: number;
  held: number;
  debt: number;
  grants: WalletGrant[];
}

export interface GrantBody {
  /** >= 1. */
  amount: number;
  kind: GrantKind;
  /** Lower burns first; absent: 100. */
  priority?: number | undefined;
  expiresAt?: string | undefined;
  scope?: GrantScope | undefined;
  /** Free-form, not part of the idempotency hash. */
  source?: Record<string, unknown> | undefined;
}

export interface Grant {
  grant: string;
  wallet: string;
  amount: number;
  remaining: number;
}

export interface FulfilmentBody {
  shop: string;
  order: string;
  line: string;
  ordinal: number;
  sku: string;
  wallet: string;
  offering?: string | undefined;
  plan?: string | undefined;
  grants: Omit<GrantBody, 'source'>[];
  paidThrough?: string | undefined;
  /**
   * This unit pays for one period more of a fulfilment of the same wallet, from the end of what is paid or, if that
   * is over, from `from` (when the renewal was ordered). Its included credits end with that period.
   */
  renews?: { fulfilment: string; period: 'Month' | 'Year'; from: string } | undefined;
}

export interface FulfilmentReply {
  fulfilment: string;
  grants: string[];
}

export interface Fulfilment {
  fulfilment: string;
  shop: string;
  order: string;
  line: string;
  ordinal: number;
  sku: string;
  wallet: string;
  offering?: string;
  plan?: string;
  instanceUid?: string;
  paidThrough?: string;
  /** The fulfilment that this one has renewed. */
  renews?: string;
  createdAt: string;
}

/** What a receipt must be able to name. Free-form: unknown members are kept and echoed. */
export interface RunContext {
  /** `org/name`. */
  instance?: string | undefined;
  contractDigest?: string | undefined;
  order?: string | undefined;
  line?: string | undefined;
  commit?: string | undefined;
  traceId?: string | undefined;
  runId?: string | undefined;
  inputSha256?: string | undefined;
  [member: string]: unknown;
}

export interface HoldBody {
  wallet: string;
  /** >= 1. */
  amount: number;
  /** 1..86400. */
  ttlSeconds: number;
  offering?: string | undefined;
  project?: string | undefined;
  instanceUid?: string | undefined;
  /** Most open holds of this `instanceUid` at once; above it 429 `too_many_runs`. */
  maxConcurrent?: number | undefined;
  context?: RunContext | undefined;
}

export interface HoldReply {
  hold: string;
  wallet: string;
  amount: number;
  state: HoldState;
  expiresAt: string;
}

export interface Hold extends HoldReply {
  offering?: string;
  project?: string;
  instanceUid?: string;
  receipt?: string;
  resultRef?: string;
  reason?: string;
  context?: RunContext;
}

export interface Line {
  dimension: string;
  units: number;
  amount: number;
}

export interface CaptureBody {
  lines: Line[];
  /** Absent: true. */
  final?: boolean | undefined;
  resultRef?: string | undefined;
}

export interface Overrun {
  fromAvailable: number;
  debt: number;
  writtenOff: number;
}

export interface CaptureReply {
  receipt: string;
  hold: string;
  state: HoldState;
  amount: number;
  released: number;
  overrun: Overrun;
  lines: Line[];
  available: number;
}

export interface VoidReply {
  hold: string;
  state: HoldState;
  released: number;
}

export interface DebitBody {
  wallet: string;
  lines: Line[];
  offering?: string | undefined;
  project?: string | undefined;
  context?: RunContext | undefined;
}

export interface DebitReply {
  receipt: string;
  amount: number;
  available: number;
}

/** The capture reply (of a debit: without `hold`) plus where the money came from and why. */
export interface Receipt {
  receipt: string;
  wallet: string;
  hold?: string;
  state?: HoldState;
  amount: number;
  released?: number;
  overrun?: Overrun;
  lines: Line[];
  available?: number;
  at: string;
  context: RunContext;
  /** What each grant paid of it; `shop`, `order` and `line` where the grant was bought. */
  grants: { grant: string; amount: number; kind: GrantKind; shop?: string; order?: string; line?: string }[];
}

export interface Entry {
  entry: string;
  transaction: string;
  operation: string;
  account: string;
  /** Signed; the entries of one transaction sum to zero. */
  amount: number;
  at: string;
  hold?: string;
  receipt?: string;
  context?: Record<string, unknown>;
}

export interface LedgerEvent {
  seq: number;
  type: string;
  wallet: string;
  at: string;
  data: Record<string, unknown>;
}

/** How far a reader of the events feed has come. */
export interface ConsumerPosition {
  consumer: string;
  /** Everything up to this `seq` has had its effect; 0 = nothing yet. */
  position: number;
  /** The feed's last `seq` now. */
  last: number;
  updatedAt?: string;
}

export interface Page<T> {
  items: T[];
  /** Pass as `cursor` for what follows; null at the end. */
  next: string | null;
}

export type BatchOperation =
  | { op: 'hold'; key: string; body: HoldBody }
  | { op: 'extend'; key: string; hold: string; body: { ttlSeconds: number } }
  | { op: 'capture'; key: string; hold: string; body: CaptureBody }
  | { op: 'void'; key: string; hold: string; body: { reason?: string } }
  | { op: 'debit'; key: string; body: DebitBody };

export interface BatchResult {
  key: string;
  status: number;
  /** The reply of the operation, or a problem document when `status` >= 400. */
  body: Record<string, unknown>;
}

export interface InboxBody {
  shop: string;
  order: string | null;
  /** Hex sha256 of the raw bytes; checked by the ledger. */
  bodySha256: string;
  /** Canonical base64 of the raw bytes. */
  rawBase64: string;
  event: string;
  state: 'pending' | 'deferred' | 'ignored';
  reason?: string | undefined;
}

export interface InboxEntry {
  id: string;
  shop: string;
  order: string | null;
  event: string;
  state: InboxState;
  bodySha256: string;
  /** How often it was handed out. */
  attempts: number;
  receivedAt: string;
  /** Why it was parked, ignored or deferred, or what the last failure said. */
  reason?: string;
}

export interface InboxItem extends InboxEntry {
  rawBase64: string;
  leaseExpiresAt: string;
}

/** The last link of the book's hash chain. Kept elsewhere, it proves later that nothing before it was changed. */
export interface ChainHead {
  links: number;
  /** sha256, hexadecimal; empty without a link. */
  head: string;
}

export interface AuditReply {
  ok: boolean;
  checkedEntries: number;
  chain: ChainHead;
  problems: string[];
}

/** An open wallet in a list. */
export interface WalletName {
  wallet: string;
  ownerUid?: string;
}

/** What fulfilments are found by; all of what is given. */
export interface FulfilmentQuery {
  shop?: string | undefined;
  order?: string | undefined;
  line?: string | undefined;
  ordinal?: number | undefined;
}
