import { addGrant, announce, announcing, giveBack, leftOf, type ModelWallet, takeBack } from './ledger-model.ts';
import {
  closed,
  dateOf,
  done,
  iso,
  type ModelBook,
  type ModelReply,
  type ModelUnit,
  named,
  newGrant,
  type Op,
  refused,
  SHOP,
  secondsOf,
} from './ledger-model-state.ts';

export function claim(book: ModelBook, { fulfilment, instanceUid }: Extract<Op, { op: 'claim' }>): ModelReply {
  const unit = book.units.find(({ id }) => id === fulfilment);
  if (!unit) return refused(404, 'fulfilment_not_found');
  const taken = book.units.some((other) => other !== unit && other.instanceUid === instanceUid);
  if (unit.instanceUid === undefined && taken) return refused(409, 'already_claimed');
  unit.instanceUid ??= instanceUid;
  if (unit.instanceUid !== instanceUid) return refused(409, 'already_claimed');
  return done(200, unitReply(unit));
}

export function unitReply(unit: ModelUnit): Record<string, unknown> {
  return {
    ...{ fulfilment: unit.id, shop: SHOP, order: unit.order, line: unit.line, ordinal: unit.ordinal, sku: 'SKU' },
    ...{ wallet: unit.wallet.name, createdAt: iso(unit.createdAt) },
    ...(unit.instanceUid === undefined ? {} : { instanceUid: unit.instanceUid }),
    ...(unit.paidThrough === undefined ? {} : { paidThrough: iso(unit.paidThrough) }),
    ...(unit.renews === undefined ? {} : { renews: unit.renews }),
  };
}

export function fulfil(book: ModelBook, wallet: ModelWallet, op: Extract<Op, { op: 'fulfilment' }>): ModelReply {
  const renewed = op.renews && book.units.find((unit) => unit.id === op.renews?.fulfilment && unit.wallet === wallet);
  if (wallet.open && op.renews && !renewed) return refused(404, 'fulfilment_not_found');
  const first = book.units.find(({ line, ordinal }) => line === op.line && ordinal === op.ordinal);
  if (first) return done(200, { fulfilment: first.id, grants: grantsOf(first) });
  if (!wallet.open) return closed();
  const { order, line, ordinal, paidThrough } = op;
  const unit: ModelUnit = {
    ...{ id: named(book, 'fulfilment'), wallet, order, line, ordinal, paidThrough, renews: renewed?.id },
    ...{ instanceUid: undefined, createdAt: book.now },
  };
  book.units.push(unit);
  announcing(wallet, () => {
    if (renewed && op.renews) {
      unit.paidThrough = renewed.paidThrough = monthLater(Math.max(renewed.paidThrough ?? -Infinity, op.renews.from));
      announce(wallet, 'fulfilment.renewed', {
        fulfilment: renewed.id,
        ...(renewed.instanceUid === undefined ? {} : { instanceUid: renewed.instanceUid }),
        paidThrough: iso(unit.paidThrough),
      });
    }
    for (const terms of op.grants) {
      const ends = renewed && terms.kind === 'included' ? { expiresAt: unit.paidThrough as number } : {};
      addGrant(wallet, newGrant(book, { ...terms, ...ends }, unit.id), book.now);
    }
    if (book.words.has(order)) settleWallet(book, wallet, order);
  });
  return done(201, { fulfilment: unit.id, grants: grantsOf(unit) });
}

const grantsOf = ({ id, wallet }: ModelUnit): string[] =>
  wallet.grants.filter(({ fulfilment }) => fulfilment === id).map((grant) => grant.id);

/** The same day of the next month, or its last day. */
function monthLater(seconds: number): number {
  const date = dateOf(seconds);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + 1);
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, last));
  return secondsOf(date);
}

export function settle(book: ModelBook, op: Extract<Op, { op: 'settle' }>): ModelReply {
  const word = { charged: op.charged, total: op.total, asOf: op.asOf ?? book.now };
  const before = book.words.get(op.order);
  const newer =
    before === undefined ||
    op.asOf === undefined ||
    before.asOf < word.asOf ||
    (before.asOf === word.asOf && before.charged > word.charged);
  if (newer) book.words.set(op.order, { ...word, asOf: Math.max(word.asOf, before?.asOf ?? -Infinity) });
  const said = book.words.get(op.order) ?? word;
  const total = { granted: 0, kept: 0, takenBack: 0, debt: 0, writtenOff: 0, givenBack: 0 };
  const wallets = book.wallets.filter((each) => book.units.some((u) => u.wallet === each && u.order === op.order));
  for (const wallet of wallets) {
    const moved = announcing(wallet, () => settleWallet(book, wallet, op.order));
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += moved[name];
  }
  const { charged, asOf } = said;
  return done(200, { shop: SHOP, order: op.order, charged, total: said.total, asOf: iso(asOf), ...total });
}

function settleWallet(book: ModelBook, wallet: ModelWallet, order: string) {
  const units = new Set(
    book.units.filter((unit) => unit.wallet === wallet && unit.order === order).map(({ id }) => id),
  );
  const grants = wallet.grants.filter(({ fulfilment }) => fulfilment !== undefined && units.has(fulfilment));
  const { charged, total } = book.words.get(order) ?? { charged: 1, total: 1 };
  let granted = 0;
  let reclaimed = 0;
  for (const { amount, restored, reclaimed: parts } of grants) {
    granted += amount - restored;
    reclaimed += parts.credits + parts.debt + parts.writtenOff;
  }
  const kept = charged >= total ? granted : Math.ceil((granted * charged) / total);
  const moved = { granted, kept, takenBack: 0, debt: 0, writtenOff: 0, givenBack: 0 };
  const more = granted - kept - reclaimed;
  if (!wallet.open || more === 0) return moved;
  if (more < 0) {
    const back = Math.min(-more, reclaimed);
    giveBack(wallet, grants, back, book.now);
    return { ...moved, givenBack: back };
  }
  const left = grants.reduce((sum, grant) => sum + leftOf(grant), 0);
  const { debt, writtenOff } = takeBack(wallet, order, grants, more);
  return { ...moved, takenBack: Math.min(more, left), debt, writtenOff };
}
