/** Finds an order in which calls that were made at once can have happened, by what they were answered. */
import type { OperationResult } from '../../ledger/operations.ts';
import { apply } from './ledger-model-book.ts';
import type { ModelBook, ModelReply, Op } from './ledger-model-state.ts';

/** What the model knows, and which id of the ledger each of its names stands for. */
export interface Known {
  book: ModelBook;
  ids: Map<string, string>;
}

/** Calls of one caller, one after the other, with their answers. A `batch` does not say what was replayed. */
export interface Told {
  ops: Op[];
  answers: (Omit<OperationResult, 'replayed'> & { replayed?: boolean })[];
}

/** What a step may touch; two that share a name are compared in every order, all others in any. */
function touched(op: Op, book: ModelBook): string[] {
  const names = [`key ${op.key}`];
  const wallet = (name: string): void => void names.push(`wallet ${name}`);
  if ('wallet' in op) wallet(op.wallet);
  if ('hold' in op) for (const each of book.wallets) if (each.holds.some(({ id }) => id === op.hold)) wallet(each.name);
  if ('grant' in op)
    for (const each of book.wallets) if (each.grants.some(({ id }) => id === op.grant)) wallet(each.name);
  const renewed = op.op === 'claim' ? op.fulfilment : op.op === 'fulfilment' ? op.renews?.fulfilment : undefined;
  for (const unit of book.units) {
    const same =
      unit.id === renewed || (op.op === 'fulfilment' && unit.line === op.line && unit.ordinal === op.ordinal);
    if (same || ('order' in op && unit.order === op.order)) wallet(unit.wallet.name);
  }
  if ('order' in op) names.push(`order ${op.order}`);
  if (op.op === 'fulfilment') names.push(`line ${op.line} ${op.ordinal}`);
  if (op.op === 'claim') names.push(`instance ${op.instanceUid}`, `unit ${op.fulfilment}`);
  return names;
}

/** Callers who can have met, and the names of the wallets that they may have moved. */
export interface Group {
  told: Told[];
  wallets: string[];
}

export function groups(callers: readonly Told[], book: ModelBook): Group[] {
  let found: { names: Set<string>; told: Told[] }[] = [];
  for (const told of callers) {
    const own = { names: new Set(told.ops.flatMap((op) => touched(op, book))), told: [told] };
    const met = found.filter(({ names }) => [...own.names].some((name) => names.has(name)));
    found = found.filter((group) => !met.includes(group));
    const names = new Set([...own.names, ...met.flatMap((group) => [...group.names])]);
    found.push({ names, told: [...met.flatMap((group) => group.told), ...own.told] });
  }
  return found.map(({ names, told }) => ({
    told,
    wallets: [...names].filter((name) => name.startsWith('wallet ')).map((name) => name.slice('wallet '.length)),
  }));
}

/**
 * What is known after these calls, in the first order that explains every answer and what was seen afterwards.
 *
 * @param differs says what is otherwise than in a model; undefined when nothing is
 * @throws Error with the calls and answers when there is no such order
 */
export function explain(
  known: Known,
  told: readonly Told[],
  differs: (after: Known) => string | undefined = () => undefined,
): Known {
  let difference: string | undefined;
  const found = search(known, told, (after) => {
    const found = differs(after);
    difference ??= found;
    return found === undefined;
  });
  if (found) return found;
  const first = { book: structuredClone(known.book), ids: new Map(known.ids) };
  const lines = told.flatMap(({ ops, answers }) =>
    ops.map((op, index) => {
      const { status, body, replayed } = answers[index] ?? {};
      const model = JSON.stringify(apply(first.book, op));
      return `${JSON.stringify(op)}\n  ledger ${JSON.stringify({ status, body, replayed })}\n  model  ${model}`;
    }),
  );
  const why = difference === undefined ? 'these answers' : `what was seen after these answers (${difference})`;
  throw new Error(`no order explains ${why}; the model's answers are of the order as asked:\n${lines.join('\n')}`);
}

function search(known: Known, told: readonly Told[], seen: (after: Known) => boolean): Known | undefined {
  if (told.every(({ ops }) => ops.length === 0)) return seen(known) ? known : undefined;
  for (const [index, { ops, answers }] of told.entries()) {
    const [op, ...later] = ops;
    const [answer, ...others] = answers;
    if (!op || !answer) continue;
    const next = { book: structuredClone(known.book), ids: new Map(known.ids) };
    if (!agree(apply(next.book, op), answer, next.ids) || !inOrderOfIds(next)) continue;
    const found = search(next, told.with(index, { ops: later, answers: others }), seen);
    if (found) return found;
  }
  return undefined;
}

/** Ids are given under the lock of a wallet. What was made at once looks alike, but its order decides what ends first. */
function inOrderOfIds({ book, ids }: Known): boolean {
  return book.wallets.every(({ grants, holds }) =>
    [grants, holds].every((made) => {
      const [before, last] = made.slice(-2).map(({ id }) => Number(ids.get(id)?.split('_')[1]));
      // One that no reply has named yet is no number.
      return before === undefined || last === undefined || !(before > last);
    }),
  );
}

/** Sentences may differ. */
function agree(model: ModelReply, { status, body, replayed }: Told['answers'][number], ids: Known['ids']): boolean {
  const { detail, ...rest } = body;
  if (model.status !== status || (replayed !== undefined && replayed !== model.replayed)) return false;
  return same(model.body, status < 400 ? body : rest, ids);
}

/** Equal, where a name of the model stands for one id of the ledger and always for the same. Notes new ones in `ids`. */
export function same(model: unknown, ledger: unknown, ids: Known['ids']): boolean {
  if (typeof model === 'string' && /#\d+$/.test(model)) {
    const bound = ids.get(model);
    if (bound !== undefined) return bound === ledger;
    if (typeof ledger !== 'string' || !ledger.startsWith(`${model.split('#')[0]}_`)) return false;
    if ([...ids.values()].includes(ledger)) return false;
    ids.set(model, ledger);
    return true;
  }
  if (typeof model !== 'object' || model === null || typeof ledger !== 'object' || ledger === null)
    return model === ledger;
  if (Array.isArray(model) !== Array.isArray(ledger)) return false;
  const names = Object.keys(model);
  const theirs = Object.keys(ledger);
  return (
    names.length === theirs.length &&
    names.every((name) => Object.hasOwn(ledger, name) && same(Reflect.get(model, name), Reflect.get(ledger, name), ids))
  );
}
