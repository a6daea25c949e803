import fc from 'fast-check';
import { allGrants, allHolds, type GrantTerms, type ModelBook, type Op } from './ledger-model-state.ts';

/** What is asked of the ledger, before it is known what is there to be asked about: numbers choose among that. */
const which = fc.nat({ max: 60 });
const amount = fc.integer({ min: 1, max: 120 });
const seconds = fc.integer({ min: 1, max: 20 });
const offering = fc.constantFrom(undefined, 'x', 'y');
const project = fc.constantFrom(undefined, undefined, 'p', 'q');
const some = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });

const terms = fc.record({
  amount,
  kind: fc.constantFrom('purchased' as const, 'included' as const, 'manual' as const),
  priority: fc.integer({ min: 1, max: 2 }),
  lifetime: fc.constantFrom(Infinity, Infinity, 0, 5, 30, 4_000_000),
  offerings: fc.constantFrom(undefined, undefined, ['x'], ['x', 'y']),
  projects: fc.constantFrom(undefined, undefined, undefined, ['p']),
});

const policy = fc.record({
  floor: fc.constantFrom(0, -50, -1_000),
  repayFirst: fc.boolean(),
  thresholds: fc.constantFrom([], [100], [40, 150]),
  caps: fc.constantFrom([], [], [{ project: 'p', amount: 90 }]),
});

const a = <T extends string>(op: T) => fc.constant(op);

const WEIGHTED = [
  { weight: 2, arbitrary: fc.record({ op: a('put'), which, stranger: fc.nat({ max: 5 }), policy }) },
  { weight: 1, arbitrary: fc.record({ op: a('close'), which, forfeit: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ op: a('grant'), which, terms }) },
  {
    weight: 4,
    arbitrary: fc.record({
      ...{
        op: a('fulfilment'),
        which,
        order: fc.nat({ max: 2 }),
        line: fc.nat({ max: 9 }),
        ordinal: fc.nat({ max: 1 }),
      },
      grants: fc.array(terms, { maxLength: 3 }),
      paidThrough: some(fc.integer({ min: -100_000, max: 4_000_000 })),
      renews: some(fc.record({ which, from: fc.integer({ min: -50, max: 50 }) })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: a('claim'), which, instance: fc.nat({ max: 2 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ op: a('settle'), order: fc.nat({ max: 2 }), charged: fc.nat({ max: 7 }), total: fc.nat({ max: 6 }) },
      asOf: some(fc.integer({ min: 0, max: 60 })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: a('revoke'), which, amount: some(amount) }) },
  {
    weight: 7,
    arbitrary: fc.record({
      ...{ op: a('hold'), which, amount, ttl: seconds, offering, project },
      instance: fc.boolean(),
      maxConcurrent: some(fc.integer({ min: 1, max: 3 })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: a('extend'), which, ttl: seconds }) },
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ op: a('capture'), which, amounts: fc.array(fc.nat({ max: 90 }), { maxLength: 2 }) },
      final: fc.constantFrom(true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: a('void'), which }) },
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ op: a('debit'), which, amounts: fc.array(fc.nat({ max: 60 }), { maxLength: 2 }), offering, project },
    }),
  },
] as const;

const step = fc.oneof(...WEIGHTED);
export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Whose key: an own one; all of an earlier call again; only the key of one; or the same call by two at once. */
const keying = fc.oneof(
  { weight: 12, arbitrary: fc.constant({ as: 'fresh' as const }) },
  { weight: 2, arbitrary: fc.record({ as: a('again'), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ as: a('borrowed'), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant({ as: 'twin' as const }) },
);

/** One who asks; several steps are one `batch`. */
const caller = fc.record({
  steps: fc.oneof(
    { weight: 6, arbitrary: fc.array(step, { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(step, { minLength: 2, maxLength: 3 }) },
  ),
  keying,
  replica: fc.constantFrom(0, 0, 0, 1),
  epoch: fc.constantFrom('none', 'none', 'none', 'none', 'present', 'present', 'stale'),
});

/** Callers who ask at once, after some time has passed. */
export const round = fc.record({
  pass: fc.constantFrom(0, 0, 1, 3, 8, 40, 1_400_000),
  newTerm: fc.boolean(),
  sweep: fc.boolean(),
  callers: fc.array(caller, { minLength: 1, maxLength: 7 }),
  consumer: some(fc.record({ position: fc.integer({ min: -4, max: 1 }), rewind: fc.boolean() })),
});
export type Round = typeof round extends fc.Arbitrary<infer T> ? T : never;

export const policies = fc.array(policy, { minLength: 4, maxLength: 4 });

/** The few names of one run. Two wallets have one owner, so that a key of one is known to the other. */
export function namesOf(run: number) {
  return {
    wallets: ['a', 'b', 'c', 'd'].map((name) => `run${run}-${name}`),
    owners: ['u', 'u', 'v', 'w'].map((name) => `run${run}-${name}`),
    orders: ['1', '2', '3'].map((name) => `run${run}-order-${name}`),
    line: (line: number) => `run${run}-line-${line}`,
  };
}
export type Names = ReturnType<typeof namesOf>;

type Asked = { key: string; epoch: number | undefined };

/** What is asked in the present state of things. */
export function toOp(step: Step, asked: Asked, book: ModelBook, names: Names): Op {
  const wallet = 'which' in step ? pick(names.wallets, step.which) : '';
  switch (step.op) {
    case 'put': {
      const owner = pick(names.owners, step.stranger === 0 ? step.which + 1 : step.which);
      return { ...asked, op: 'put', wallet, owner, ...step.policy };
    }
    case 'close':
      return { ...asked, op: 'close', wallet, forfeit: step.forfeit };
    case 'grant':
      return { ...asked, op: 'grant', wallet, terms: termsOf(step.terms, book) };
    case 'fulfilment': {
      const unit = step.renews && pick(book.units, step.renews.which)?.id;
      return {
        ...{ ...asked, op: 'fulfilment', wallet, order: pick(names.orders, step.order), line: names.line(step.line) },
        ordinal: step.ordinal,
        grants: step.grants.map((each) => termsOf(each, book)),
        paidThrough: step.paidThrough,
        renews: step.renews && unit !== undefined ? { fulfilment: unit, from: book.now + step.renews.from } : undefined,
      };
    }
    case 'claim': {
      const unit = pick(book.units, step.which);
      const instanceUid = `${unit?.wallet.name}-instance-${step.instance}`;
      return { ...asked, op: 'claim', fulfilment: unit?.id ?? 'fulfilment_none', instanceUid };
    }
    case 'settle': {
      const { charged, total, asOf } = step;
      return { ...asked, op: 'settle', order: pick(names.orders, step.order), charged, total, asOf };
    }
    case 'revoke':
      return {
        ...asked,
        op: 'revoke',
        grant: pick(allGrants(book), step.which)?.id ?? 'grant_none',
        amount: step.amount,
      };
    case 'hold': {
      const { amount, ttl, offering, project, maxConcurrent } = step;
      const instanceUid = step.instance ? `${wallet}-instance` : undefined;
      return { ...asked, op: 'hold', wallet, amount, ttl, offering, project, instanceUid, maxConcurrent };
    }
    case 'extend':
      return { ...asked, op: 'extend', hold: holdOf(book, step.which), ttl: step.ttl };
    case 'capture':
      return { ...asked, op: 'capture', hold: holdOf(book, step.which), amounts: step.amounts, final: step.final };
    case 'void':
      return { ...asked, op: 'void', hold: holdOf(book, step.which) };
    case 'debit': {
      const { amounts, offering, project } = step;
      return { ...asked, op: 'debit', wallet, amounts, offering, project };
    }
  }
}

const pick = <T>(list: readonly T[], index: number): T => list[index % Math.max(1, list.length)] as T;

/** Mostly one that is open. */
function holdOf(book: ModelBook, index: number): string {
  const all = allHolds(book);
  const open = all.filter(({ state }) => state === 'open');
  return pick(index % 5 === 0 || open.length === 0 ? all : open, index)?.id ?? 'hold_none';
}

function termsOf({ lifetime, ...terms }: Extract<Step, { op: 'grant' }>['terms'], book: ModelBook): GrantTerms {
  return { ...terms, expiresAt: book.now + lifetime };
}
