import type { BatchItem, LedgerOperations, OperationResult } from '../../ledger/operations.ts';
import type { GrantBody } from '../../ledger/wire.ts';
import { type GrantTerms, iso, linesOf, type Op, SHOP } from './ledger-model-state.ts';

/** The ledger's name of what the model names. */
type NameOf = (name: string) => string;

/** Operations that `batch` carries. */
const BATCHED = ['grant', 'revoke', 'hold', 'extend', 'capture', 'void', 'debit'] as const;
type Batched = Extract<Op, { op: (typeof BATCHED)[number] }>;

export const mayBatch = (op: Op): op is Batched => (BATCHED as readonly string[]).includes(op.op);

/** Asks the ledger what the model was asked. */
export function call(operations: LedgerOperations, op: Op, nameOf: NameOf): Promise<OperationResult> {
  const { key, epoch } = op;
  const as = { key, epoch };
  if (mayBatch(op)) {
    const item = batchItem(op, nameOf);
    switch (item.op) {
      case 'grant':
        return operations.grant(item.wallet, item.body, as);
      case 'revoke':
        return operations.revokeGrant(item.grant, item.body, as);
      case 'hold':
        return operations.hold(item.body, as);
      case 'extend':
        return operations.extendHold(item.hold, item.body, as);
      case 'capture':
        return operations.capture(item.hold, item.body, as);
      case 'void':
        return operations.voidHold(item.hold, item.body, as);
      case 'debit':
        return operations.debit(item.body, as);
    }
  }
  switch (op.op) {
    case 'put': {
      const { owner, floor, repayFirst, thresholds, caps } = op;
      const body = { ownerUid: owner, debtPolicy: { floor, repayFirst }, thresholds: [...thresholds], caps: [...caps] };
      return operations.putWallet(op.wallet, body, { epoch });
    }
    case 'close':
      return operations.closeWallet(op.wallet, { forfeit: op.forfeit }, as);
    case 'claim':
      return operations.claimFulfilment(nameOf(op.fulfilment), { instanceUid: op.instanceUid }, { epoch });
    case 'settle': {
      const { charged, total, asOf } = op;
      const dated = asOf === undefined ? {} : { asOf: iso(asOf) };
      return operations.settleOrder({ shop: SHOP, order: op.order }, { charged, total, ...dated }, as);
    }
    case 'fulfilment': {
      const { wallet, order, line, ordinal, paidThrough, renews } = op;
      return operations.recordFulfilment(
        {
          ...{ shop: SHOP, order, line, ordinal, sku: 'SKU', wallet, grants: op.grants.map(grantBody) },
          ...(paidThrough === undefined ? {} : { paidThrough: iso(paidThrough) }),
          ...(renews
            ? { renews: { fulfilment: nameOf(renews.fulfilment), period: 'Month' as const, from: iso(renews.from) } }
            : {}),
        },
        as,
      );
    }
  }
}

export function batchItem(op: Batched, nameOf: NameOf): BatchItem {
  const { key } = op;
  switch (op.op) {
    case 'grant':
      return { op: 'grant', key, wallet: op.wallet, body: grantBody(op.terms) };
    case 'revoke':
      return { op: 'revoke', key, grant: nameOf(op.grant), body: present({ amount: op.amount }) };
    case 'hold': {
      const { wallet, amount, ttl, offering, project, instanceUid, maxConcurrent } = op;
      const optional = present({ offering, project, instanceUid, maxConcurrent });
      return { op: 'hold', key, body: { wallet, amount, ttlSeconds: ttl, ...optional } };
    }
    case 'extend':
      return { op: 'extend', key, hold: nameOf(op.hold), body: { ttlSeconds: op.ttl } };
    case 'capture': {
      const body = { lines: linesOf(op.amounts), ...(op.final ? {} : { final: false }) };
      return { op: 'capture', key, hold: nameOf(op.hold), body };
    }
    case 'void':
      return { op: 'void', key, hold: nameOf(op.hold), body: {} };
    case 'debit': {
      const { wallet, offering, project } = op;
      return { op: 'debit', key, body: { wallet, lines: linesOf(op.amounts), ...present({ offering, project }) } };
    }
  }
}

function grantBody({ amount, kind, priority, expiresAt, offerings, projects }: GrantTerms): GrantBody {
  return {
    ...{ amount, kind, priority },
    ...(expiresAt === Infinity ? {} : { expiresAt: iso(expiresAt) }),
    ...(offerings || projects
      ? { scope: present({ offerings: offerings?.slice(), projects: projects?.slice() }) }
      : {}),
  };
}

function present<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
