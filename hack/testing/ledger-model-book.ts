import {
  addGrant,
  affordable,
  announce,
  announcing,
  availableOf,
  charge,
  heldOf,
  inBurnOrder,
  leftOf,
  type ModelGrant,
  type ModelHold,
  type ModelWallet,
  type Overrun,
  release,
  revoke,
  spend,
  take,
} from './ledger-model.ts';
import { claim, fulfil, settle } from './ledger-model-orders.ts';
import {
  allHolds,
  closed,
  done,
  iso,
  linesOf,
  type ModelBook,
  type ModelReply,
  monthOf,
  named,
  newGrant,
  type Op,
  refused,
  walletOf,
} from './ledger-model-state.ts';

export function walletReply(wallet: ModelWallet): Record<string, unknown> {
  const grants = inBurnOrder(wallet.grants).filter(({ free, held }) => free + held > 0);
  return {
    wallet: wallet.name,
    ownerUid: wallet.owner,
    state: wallet.open ? 'open' : 'closed',
    available: availableOf(wallet),
    held: heldOf(wallet),
    debt: wallet.debt,
    debtPolicy: { floor: wallet.floor, repayFirst: wallet.repayFirst },
    thresholds: wallet.thresholds,
    caps: wallet.caps,
    grants: grants.map((grant) => ({
      grant: grant.id,
      kind: grant.kind,
      priority: grant.priority,
      expiresAt: grant.expiresAt === Infinity ? null : iso(grant.expiresAt),
      scope:
        grant.offerings || grant.projects
          ? {
              ...(grant.offerings ? { offerings: grant.offerings } : {}),
              ...(grant.projects ? { projects: grant.projects } : {}),
            }
          : null,
      amount: grant.amount,
      remaining: grant.free + grant.held,
      held: grant.held,
    })),
  };
}

/** What the ledger must answer, and what it must do. */
export function apply(book: ModelBook, op: Op): ModelReply {
  if (op.epoch !== undefined) {
    if (op.epoch < book.epoch) return refused(409, 'stale_leader');
    book.epoch = op.epoch;
  }
  if (op.op === 'put') return put(book, op);
  if (op.op === 'claim') return claim(book, op);
  const wallet = targetOf(book, op);
  if (typeof wallet === 'string') return refused(404, wallet);
  const owner = op.op === 'settle' ? `order ${op.order}` : (wallet as ModelWallet).owner;
  const known = book.keys.get(`${owner} ${op.op} ${op.key}`);
  const payload = payloadOf(op);
  if (known) {
    return known.payload === payload ? { ...known.reply, replayed: true } : refused(422, 'idempotency_conflict');
  }
  const reply = op.op === 'settle' ? settle(book, op) : within(book, wallet as ModelWallet, op);
  // A unit that is known under another key is told, not done: nothing is remembered.
  const effect = reply.status < 400 && !(op.op === 'fulfilment' && reply.status === 200);
  if (effect) book.keys.set(`${owner} ${op.op} ${op.key}`, { payload, reply });
  return reply;
}

/** The fields that decide what happens. */
function payloadOf(op: Op): string {
  const { key, epoch, ...fields } = op;
  return JSON.stringify({ ...fields, ttl: undefined });
}

type Keyed = Exclude<Op, { op: 'put' | 'claim' }>;

function targetOf(book: ModelBook, op: Keyed): ModelWallet | string | undefined {
  switch (op.op) {
    case 'settle':
      return undefined;
    case 'revoke':
      return book.wallets.find(({ grants }) => grants.some(({ id }) => id === op.grant)) ?? 'grant_not_found';
    case 'extend':
    case 'capture':
    case 'void':
      return book.wallets.find(({ holds }) => holds.some(({ id }) => id === op.hold)) ?? 'hold_not_found';
    default:
      return walletOf(book, op.wallet) ?? 'wallet_not_found';
  }
}

function within(book: ModelBook, wallet: ModelWallet, op: Exclude<Keyed, { op: 'settle' }>): ModelReply {
  switch (op.op) {
    case 'fulfilment':
      return fulfil(book, wallet, op);
    case 'extend':
    case 'capture':
    case 'void': {
      const hold = wallet.holds.find(({ id }) => id === op.hold) as ModelHold;
      if (hold.state !== 'open') return refused(409, `already_${hold.state}`);
      if (op.op === 'extend') return extend(book, hold, op.ttl);
      return op.op === 'void' ? voidHold(book, wallet, hold) : capture(book, wallet, hold, op);
    }
  }
  if (!wallet.open) return closed();
  switch (op.op) {
    case 'close':
      return close(wallet, op.forfeit);
    case 'grant': {
      const grant = newGrant(book, op.terms, undefined);
      announcing(wallet, () => addGrant(wallet, grant, book.now));
      const remaining = grant.free + grant.held;
      return done(201, { grant: grant.id, wallet: wallet.name, amount: grant.amount, remaining });
    }
    case 'revoke': {
      const grant = wallet.grants.find(({ id }) => id === op.grant) as ModelGrant;
      const amount = op.amount ?? leftOf(grant);
      if (amount > leftOf(grant)) return refused(422, 'invalid_request');
      return announcing(wallet, () => {
        const body = revoke(wallet, grant, amount);
        announce(wallet, 'grant.revoked', { ...body, grant: grant.id });
        return done(200, body);
      });
    }
    case 'hold':
      return hold(book, wallet, op);
    case 'debit': {
      const amount = op.amounts.reduce((total, line) => total + line, 0);
      const left = affordable(wallet, op, monthOf(book.now));
      if (amount > left) return refused(402, 'insufficient_credits', { available: left, required: amount });
      return announcing(wallet, () => {
        take(wallet, op, amount);
        spend(wallet, op.project, monthOf(book.now), amount);
        return done(201, { receipt: named(book, 'receipt'), amount, available: availableOf(wallet) });
      });
    }
  }
}

function put(book: ModelBook, op: Extract<Op, { op: 'put' }>): ModelReply {
  let wallet = walletOf(book, op.wallet);
  if (!wallet?.open) {
    wallet = {
      ...{ name: op.wallet, owner: op.owner, open: true, floor: 0, repayFirst: true, thresholds: [], caps: [] },
      ...{ debt: 0, grants: [], holds: [], spent: new Map(), events: [] },
    };
    book.wallets.push(wallet);
  }
  if (wallet.owner !== op.owner) return refused(409, 'owner_mismatch');
  const { floor, repayFirst, thresholds, caps } = op;
  Object.assign(wallet, { floor, repayFirst, thresholds, caps });
  return done(200, walletReply(wallet));
}

function close(wallet: ModelWallet, forfeit: boolean): ModelReply {
  const state = { available: availableOf(wallet), held: heldOf(wallet), debt: wallet.debt };
  const busy = wallet.holds.some((candidate) => candidate.state === 'open');
  if (busy || (state.available + state.debt > 0 && !forfeit)) return refused(409, 'wallet_not_empty', state);
  announcing(wallet, () => {
    for (const grant of wallet.grants) {
      grant.expired += grant.free;
      grant.free = 0;
    }
    wallet.debt = 0;
  });
  wallet.open = false;
  return done(200, { wallet: wallet.name, state: 'closed', forfeited: state.available, writtenOff: state.debt });
}

function hold(book: ModelBook, wallet: ModelWallet, op: Extract<Op, { op: 'hold' }>): ModelReply {
  if (op.maxConcurrent !== undefined && op.instanceUid !== undefined) {
    const running = allHolds(book).filter((other) => other.state === 'open' && other.instanceUid === op.instanceUid);
    if (running.length >= op.maxConcurrent) return refused(429, 'too_many_runs');
  }
  const left = affordable(wallet, op, monthOf(book.now));
  if (op.amount > left) return refused(402, 'insufficient_credits', { available: left, required: op.amount });
  const { amount, offering, project, instanceUid } = op;
  const made: ModelHold = {
    ...{ id: named(book, 'hold'), wallet: wallet.name, state: 'open', amount, offering, project, instanceUid },
    ...{ expiresAt: book.now + op.ttl, reserved: new Map(), receipt: undefined },
  };
  take(wallet, op, amount, (grant, part) => {
    grant.held += part;
    made.reserved.set(grant, part);
  });
  wallet.holds.push(made);
  return done(201, holdReply(made));
}

const holdReply = ({ id, wallet, amount, state, expiresAt }: ModelHold): Record<string, unknown> => ({
  ...{ hold: id, wallet, amount, state, expiresAt: iso(expiresAt) },
});

function extend(book: ModelBook, hold: ModelHold, ttl: number): ModelReply {
  hold.expiresAt = Math.max(hold.expiresAt, book.now + ttl);
  return done(200, holdReply(hold));
}

function voidHold(book: ModelBook, wallet: ModelWallet, hold: ModelHold): ModelReply {
  announcing(wallet, () => release(hold, book.now));
  hold.state = 'voided';
  return done(200, { hold: hold.id, state: 'voided', released: hold.amount });
}

function capture(
  book: ModelBook,
  wallet: ModelWallet,
  hold: ModelHold,
  op: Extract<Op, { op: 'capture' }>,
): ModelReply {
  const amount = op.amounts.reduce((total, line) => total + line, 0);
  const used = Math.min(amount, hold.amount);
  const released = op.final ? hold.amount - used : 0;
  let overrun: Overrun = { fromAvailable: 0, debt: 0, writtenOff: 0 };
  hold.receipt ??= named(book, 'receipt');
  announcing(wallet, () => {
    overrun = charge(wallet, hold, amount);
    if (op.final) release(hold, book.now);
    spend(wallet, hold.project, monthOf(book.now), amount);
    const { instanceUid, receipt } = hold;
    if (instanceUid === undefined || book.announced.has(instanceUid)) return;
    book.announced.add(instanceUid);
    announce(wallet, 'receipt.first', { instanceUid, receipt, hold: hold.id, amount });
  });
  if (op.final) hold.state = 'captured';
  else hold.amount -= used;
  return done(200, {
    ...{ receipt: hold.receipt, hold: hold.id, state: hold.state, amount, released, overrun },
    lines: linesOf(op.amounts),
    available: availableOf(wallet),
  });
}
