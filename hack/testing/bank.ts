import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from 'postgres';
import { DatabaseUnavailable } from '../../ledger/database.ts';
import type { Call, OperationResult } from '../../ledger/operations.ts';
import { line } from './book.ts';
import { seeded } from './faults.ts';
import type { Teller } from './teller.ts';

const WALLETS = ['a.main', 'a.side', 'b.main', 'c.main', 'd.main'];
const CALLERS = 12;
/** Callers who got no answer come back after it. */
const RETRY_MS = 40;
/** What a wallet may owe, as a negative number. */
export const FLOOR = -200;

/** What the callers were told about one wallet. */
interface Account {
  granted: number;
  used: number;
  debt: number;
  writtenOff: number;
}

interface OpenHold {
  hold: string;
  wallet: string;
  amount: number;
}

export interface BankOptions {
  seed: number;
  operations: Teller;
  /** The control: a call whose outcome is unknown is made again as if it were another one. */
  freshKeys?: boolean;
}

/**
 * Callers who move money of a few wallets at once, and keep in memory what they were told. A call whose outcome is
 * unknown is repeated under its key until it is answered. The seed decides what they do, not who is faster.
 */
export class Bank {
  /** Operations that took effect, as their callers were told. */
  transfers = 0;
  /** Calls that ended without an answer. */
  unknown = 0;
  /** What the repetition of such calls found out. */
  readonly found = { happened: 0, not: 0 };
  readonly #operations: Teller;
  readonly #seed: number;
  readonly #freshKeys: boolean;
  readonly #accounts = new Map(WALLETS.map((name) => [name, { granted: 0, used: 0, debt: 0, writtenOff: 0 }]));
  readonly #told = new Map<string, Record<string, unknown>>();
  readonly #ended = new Map<string, string>();
  readonly #wrong: string[] = [];
  #open: OpenHold[] = [];
  #keys = 0;
  #abandoned = false;

  constructor({ seed, operations, freshKeys = false }: BankOptions) {
    this.#seed = seed;
    this.#operations = operations;
    this.#freshKeys = freshKeys;
  }

  async prepare(): Promise<void> {
    for (const [n, wallet] of WALLETS.entries()) {
      const debtPolicy = { floor: FLOOR, repayFirst: n % 2 === 1 };
      await this.#operations.putWallet(wallet, { ownerUid: wallet.slice(0, 1), debtPolicy, thresholds: [500, 100] });
      await this.#grant(wallet, 2_000);
    }
  }

  /** Until `enough`; every call that was begun has been answered by then. */
  async open(enough: () => boolean): Promise<void> {
    await Promise.all(
      Array.from({ length: CALLERS }, async (_, caller) => {
        const random = seeded(this.#seed * CALLERS + caller);
        while (!this.#abandoned && !enough()) await this.#move(random);
      }),
    );
  }

  /** Callers stop asking, and whatever they still wait for fails. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** Every difference between what the callers were told and what the book says. */
  async differences(admin: Sql): Promise<string[]> {
    return [
      ...this.#wrong,
      ...(await this.#accountsDiffer(admin)),
      ...(await this.#keysDiffer(admin)),
      ...(await this.#holdsDiffer(admin)),
    ];
  }

  async #move(random: () => number): Promise<void> {
    const wallet = WALLETS[Math.floor(random() * WALLETS.length)] as string;
    const amount = 1 + Math.floor(random() * 60);
    const what = random();
    if (what < 0.2) await this.#grant(wallet, amount);
    else if (what < 0.45) await this.#debit(wallet, amount);
    else if (what < 0.7 || this.#open.length === 0) await this.#hold(wallet, amount);
    else await this.#end(this.#open.splice(Math.floor(random() * this.#open.length), 1)[0] as OpenHold, random);
  }

  async #grant(wallet: string, amount: number): Promise<void> {
    const reply = await this.#sure((call) => this.#operations.grant(wallet, { amount, kind: 'purchased' }, call));
    this.#expect(reply, [201], { wallet, amount });
    this.#account(wallet).granted += amount;
  }

  async #debit(wallet: string, amount: number): Promise<void> {
    const reply = await this.#sure((call) => this.#operations.debit({ wallet, lines: [line(amount)] }, call));
    this.#expect(reply, [201, 402], { amount });
    if (reply.status === 201) this.#account(wallet).used += amount;
  }

  async #hold(wallet: string, amount: number): Promise<void> {
    const run = { runId: `run-${this.#keys}`, instance: `${wallet}-i` };
    const body = { wallet, amount, ttlSeconds: 86_400, instanceUid: `${wallet}-i`, context: run };
    const reply = await this.#sure((call) => this.#operations.hold(body, call));
    this.#expect(reply, [201, 402], { wallet, amount });
    if (reply.status === 201) this.#open.push({ hold: String(reply.body.hold), wallet, amount });
  }

  /** In part, or for good; or by two at once, of whom one wins. */
  async #end(held: OpenHold, random: () => number): Promise<void> {
    const amount = Math.floor(random() * 1.5 * held.amount);
    const what = random();
    if (what < 0.2) {
      await this.#capture(held, amount, false);
      this.#open.push({ ...held, amount: Math.max(0, held.amount - amount) });
    } else if (what < 0.5) await this.#one(held, [this.#capture(held, amount, true)]);
    else if (what < 0.75) await this.#one(held, [this.#void(held)]);
    else await this.#one(held, [this.#capture(held, amount, true), this.#void(held), this.#void(held)]);
  }

  async #one(held: OpenHold, rivals: Promise<string | undefined>[]): Promise<void> {
    const winners = (await Promise.all(rivals)).filter((winner) => winner !== undefined);
    if (winners.length !== 1) this.#wrong.push(`${held.hold} was ended by ${winners.length} of ${rivals.length}`);
    this.#ended.set(held.hold, String(winners[0]));
  }

  async #void(held: OpenHold): Promise<string | undefined> {
    const reply = await this.#sure((call) => this.#operations.voidHold(held.hold, {}, call));
    this.#expect(reply, [200, 409], { hold: held.hold, released: held.amount });
    return reply.status === 200 ? 'voided' : undefined;
  }

  async #capture(held: OpenHold, amount: number, final: boolean): Promise<string | undefined> {
    const body = { lines: [line(amount)], final };
    const reply = await this.#sure((call) => this.#operations.capture(held.hold, body, call));
    this.#expect(reply, [200, 409], { hold: held.hold, amount });
    if (reply.status !== 200) return undefined;
    const { debt, writtenOff } = reply.body.overrun as Record<string, number>;
    const account = this.#account(held.wallet);
    account.used += amount;
    account.debt += debt ?? 0;
    account.writtenOff += writtenOff ?? 0;
    return 'captured';
  }

  async #sure(run: (call: Call) => Promise<OperationResult>): Promise<OperationResult> {
    let key = this.#key();
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await run({ key });
        if (attempt > 1 && result.status < 300) this.found[result.replayed ? 'happened' : 'not'] += 1;
        if (result.status < 300) {
          this.transfers += 1;
          this.#told.set(key, result.body);
        }
        return result;
      } catch (error) {
        if (this.#abandoned || !(error instanceof DatabaseUnavailable)) throw error;
        this.unknown += 1;
        if (this.#freshKeys) key = this.#key();
        await delay(RETRY_MS);
      }
    }
  }

  /** A refusal says nothing of what was asked; everything else names it, so a reply of somebody else shows. */
  #expect({ status, body }: OperationResult, statuses: number[], asked: Record<string, unknown>): void {
    const other = Object.entries(asked).some(([name, value]) => body[name] !== value);
    if (!statuses.includes(status) || (status < 300 && other)) {
      this.#wrong.push(`${JSON.stringify(asked)} was answered ${status} ${JSON.stringify(body)}`);
    }
  }

  #key(): string {
    this.#keys += 1;
    return `k${this.#keys}`;
  }

  #account(wallet: string): Account {
    return this.#accounts.get(wallet) as Account;
  }

  async #accountsDiffer(admin: Sql): Promise<string[]> {
    const rows = await admin<Record<string, string>[]>`
      select w.name, w.repay_first as repay, w.held, w.debt, w.available + w.held - w.debt as funds,
          (select sum(amount) from gsv_ledger.grants where wallet_id = w.id) as granted,
          (select coalesce(sum(e.amount), 0) from gsv_ledger.transactions t join gsv_ledger.entries e on e.transaction_id = t.id
            join gsv_ledger.accounts a on a.id = e.account_id where t.wallet_id = w.id and a.kind = 'usage') as used
        from gsv_ledger.wallets w`;
    return rows.flatMap((row) => {
      const name = String(row.name);
      const { granted, used, debt, writtenOff } = this.#account(name);
      const held = this.#open.filter(({ wallet }) => wallet === name).reduce((sum, { amount }) => sum + amount, 0);
      const told = { granted, used, held, funds: granted - used + writtenOff, ...(row.repay ? {} : { debt }) };
      return Object.entries(told)
        .filter(([what, value]) => Number(row[what]) !== value)
        .map(([what, value]) => `${name}: ${what} is ${row[what]}, the callers were told ${value}`);
    });
  }

  async #keysDiffer(admin: Sql): Promise<string[]> {
    const told = [...this.#told].map(([key, body]) => ({
      key,
      body: JSON.stringify(body),
      operation: operationOf(body),
    }));
    const remembered = await admin<{ key: string; body: unknown }[]>`select key, body from gsv_ledger.idempotency`;
    const rows = remembered.map(({ key, body }) => ({ key, body: JSON.stringify(body) }));
    // The others are in the journal, which keeps digests of their keys.
    const journaled = await admin.begin(async (tx) => {
      await tx`set local search_path = gsv_ledger`;
      return tx<{ key: string | null; body: unknown }[]>`
        select t.key, (journal_reply(j, true)).body as body
          from journal j join wallets w on w.id = j.wallet_id
            left join jsonb_to_recordset(${JSON.stringify(told)}::text::jsonb) t (key text, operation text)
              on t.operation = j.operation and j.key = key_digest(w.owner_uid, t.operation, t.key)
          where j.key is not null`;
    });
    rows.push(...journaled.map(({ key, body }) => ({ key: key ?? 'a key', body: JSON.stringify(body) })));
    const booked = new Map(rows.map(({ key, body }) => [key, body]));
    const unknown = rows.filter(({ key }) => !this.#told.has(key)).map(({ key }) => `${key} happened and nobody knows`);
    const other = told.filter(({ key, body }) => booked.get(key) !== body).map(({ key }) => [key]);
    const [row] = await admin<{ receipts: number; transactions: number }[]>`
      select (select count(*) from gsv_ledger.receipts)::int as receipts, (select count(*) from gsv_ledger.transactions
        where operation in ('grant', 'hold', 'debit'))::int as transactions`;
    const made = [...this.#told.values()];
    const receipts = new Set(made.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]))).size;
    const transactions = made.filter((body) => 'grant' in body || 'expiresAt' in body || !('hold' in body)).length;
    return [
      ...unknown,
      ...other.map(([key]) => `${key} was answered otherwise than it is booked`),
      ...(receipts === row?.receipts ? [] : [`${row?.receipts} receipts, the callers have ${receipts}`]),
      ...(transactions === row?.transactions
        ? []
        : [`${row?.transactions} bookings, the callers made ${transactions}`]),
    ];
  }

  async #holdsDiffer(admin: Sql): Promise<string[]> {
    const rows = await admin<{ hold: string; state: string }[]>`
      select 'hold_' || id as hold, state from gsv_ledger.holds`;
    const open = new Set(this.#open.map(({ hold }) => hold));
    return rows
      .filter(({ hold, state }) => state !== (open.has(hold) ? 'open' : this.#ended.get(hold)))
      .map(({ hold, state }) => `${hold} is ${state}, the callers were told ${this.#ended.get(hold)}`);
  }
}

/** What was asked for, from what was answered. */
function operationOf(body: Record<string, unknown>): string {
  if ('expiresAt' in body) return 'hold';
  if (body.state === 'voided') return 'void';
  if ('receipt' in body) return 'hold' in body ? 'capture' : 'debit';
  return 'other';
}
