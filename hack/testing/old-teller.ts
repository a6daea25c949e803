import { DatabaseUnavailable, type LedgerSql, WRITER_ROLE, withDatabase } from '../../ledger/database.ts';
import { type Call, type OperationResult, payloadHash } from '../../ledger/operations.ts';
import { openPool } from '../../ledger/sql.ts';
import type { Teller } from './teller.ts';

/**
 * Conflicts that every release has retried, and what a caller sees whose functions are replaced under it: a plan or a
 * function or table that is not there any more, a lock that it waited for too long. Nothing was written then.
 */
const NOTHING_HAPPENED = new Set([
  '40001',
  '40P01',
  '55P03',
  '0A000',
  '42P01',
  '42883',
  '42704',
  '42703',
  '55000',
  'XX000',
]);

/** The ledger of the first release: each operation by its own function, as replicas do that are not yet replaced. */
export class OldTeller implements Teller {
  readonly #sql: LedgerSql;
  /** How often each SQLSTATE sent a caller back. */
  readonly conflicts: Record<string, number> = {};

  constructor(url: string) {
    this.#sql = openPool({
      ...{ url, max: 12, connectTimeoutMs: 5_000, statementTimeoutMs: 15_000, silenceMs: 20_000 },
      applicationName: 'gsv-ledger-old',
      settings: { role: WRITER_ROLE, search_path: 'gsv_ledger,pg_temp', lock_timeout: '3000' },
    });
  }

  close(): Promise<void> {
    return this.#sql.end({ timeout: 1 });
  }

  putWallet: Teller['putWallet'] = (name, body) => this.#run('put_wallet', name, body, { key: '' });
  grant: Teller['grant'] = (wallet, body, call) => this.#run('create_grant', wallet, body, call);
  debit: Teller['debit'] = (body, call) => this.#run('debit', '', body, call);
  hold: Teller['hold'] = (body, call) => this.#run('create_hold', '', body, call);
  capture: Teller['capture'] = (hold, body, call) => this.#run('capture_hold', hold, body, call);
  voidHold: Teller['voidHold'] = (hold, body, call) => this.#run('void_hold', hold, body, call);

  async #run(operation: string, target: string, body: object, { key }: Call): Promise<OperationResult> {
    const hash = payloadHash(target, body);
    try {
      const [row] = await withDatabase(
        () => this.#sql<OperationResult[]>`
          select status, body, replayed from gsv_ledger.${this.#sql(operation)}(
            ${target}, ${JSON.stringify(body)}::text::jsonb, ${key}, ${hash}, ${new Date()}, ${null})`,
      );
      if (!row) throw new DatabaseUnavailable(new Error(`${operation} answered nothing`));
      return row;
    } catch (error) {
      const state = (error as { code?: string }).code ?? '';
      if (!NOTHING_HAPPENED.has(state)) throw error;
      this.conflicts[state] = (this.conflicts[state] ?? 0) + 1;
      // As after an answer that was lost: the caller comes again under the same key.
      throw new DatabaseUnavailable(error);
    }
  }
}
