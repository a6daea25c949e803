import { type LedgerSql, withDatabase } from './database.ts';
import type { Period } from './statements.ts';
import type { AccountStatement, AccountStatementItem } from './wire-finance.ts';

/** Where the store has what it gave out. */
const GIVEN_OUT = ['store/issued', 'store/promotions'];
/** Usage of no offering; each offering that was ever used follows, by name. */
const USAGE = 'store/usage';
const OTHERS = ['store/breakage', 'store/revoked', 'store/clawed_back', 'store/written_off'];
/** The sums of those that wallets have. */
const WALLETS = ['wallets/available', 'wallets/held', 'wallets/debt'];

/** Columns of the CSV. */
export const ACCOUNT_COLUMNS = [
  'account',
  'opening',
  'change',
  'closing',
] as const satisfies readonly (keyof AccountStatementItem)[];

interface Row {
  account: string;
  operation: string;
  opening: number;
  change: number;
}

/**
 * The trial balance: what every account held before a period, what moved in it by operation, and what it held after.
 * Computed from the entries. Each of the columns sums to zero, as the whole book does.
 */
export class AccountStatements {
  readonly #sql: LedgerSql;

  constructor(sql: LedgerSql) {
    this.#sql = sql;
  }

  /** Reads every entry up to the end of the period. @throws DatabaseUnavailable */
  async read({ from, to }: Period): Promise<AccountStatement> {
    const rows = await withDatabase(() =>
      this.#sql.begin('isolation level repeatable read read only', async (tx) => {
        await tx`set local statement_timeout = 0`;
        return await tx<Row[]>`
          select concat_ws('/', case when a.wallet_id is null then 'store' else 'wallets' end, a.kind, nullif(a.offering, ''))
                as account, t.operation,
              coalesce(sum(e.amount) filter (where t.at < ${from ?? null}::timestamptz), 0)::float8 as opening,
              coalesce(sum(e.amount) filter (where ${from ?? null}::timestamptz is null or t.at >= ${from ?? null}::timestamptz), 0)::float8
                as change
            from gsv_ledger.transactions t join gsv_ledger.entries e on e.transaction_id = t.id
              join gsv_ledger.accounts a on a.id = e.account_id
            where ${to ?? null}::timestamptz is null or t.at < ${to ?? null}::timestamptz
            group by 1, 2 order by 2`;
      }),
    );
    return {
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      items: inOrder(rows).map((account) => itemOf(account, rows)),
    };
  }
}

/** The accounts, in the order of a balance sheet. */
function inOrder(rows: readonly Row[]): string[] {
  const offerings = new Set(rows.map(({ account }) => account).filter((account) => account.startsWith(`${USAGE}/`)));
  return [...GIVEN_OUT, USAGE, ...[...offerings].sort(), ...OTHERS, ...WALLETS];
}

function itemOf(account: string, rows: readonly Row[]): AccountStatementItem {
  const own = rows.filter((row) => row.account === account);
  const sum = (amounts: number[]): number => amounts.reduce((total, amount) => total + amount, 0);
  const opening = sum(own.map((row) => row.opening));
  const change = sum(own.map((row) => row.change));
  const moved = own.filter((row) => row.change !== 0).map(({ operation, change: amount }) => [operation, amount]);
  return { account, opening, change, closing: opening + change, operations: Object.fromEntries(moved) };
}
