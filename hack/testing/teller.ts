import { type LedgerClient, LedgerError } from '../../ledger/client.ts';
import { DatabaseUnavailable } from '../../ledger/database.ts';
import type { LedgerOperations, OperationResult } from '../../ledger/operations.ts';

/** What a bank needs of a ledger. */
export type Teller = Pick<LedgerOperations, 'putWallet' | 'grant' | 'debit' | 'hold' | 'capture' | 'voidHold'>;

/** The ledger behind its HTTP API. An answer that did not come is unknown, as `DatabaseUnavailable` is. */
export function overHttp(client: LedgerClient): Teller {
  return {
    putWallet: (name, body) => answer(200, client.putWallet(name, body)),
    grant: (wallet, body, { key }) => answer(201, client.grant(wallet, body, key)),
    debit: (body, { key }) => answer(201, client.debit(body, key)),
    hold: (body, { key }) => answer(201, client.hold(body, key)),
    capture: (hold, body, { key }) => answer(200, client.capture(hold, body, key)),
    voidHold: (hold, body, { key }) => answer(200, client.voidHold(hold, body, key)),
  };
}

async function answer(status: number, call: Promise<object & { replayed?: boolean }>): Promise<OperationResult> {
  try {
    const { replayed = false, ...body } = await call;
    return { status, body: body as Record<string, unknown>, replayed };
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    if (error.status === 0 || error.status === 503) throw new DatabaseUnavailable(error);
    return { status: error.status, body: error.body, replayed: false };
  }
}
