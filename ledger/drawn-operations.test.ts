/**
 * The tables of `docs/ledger-operations.md` against a ledger: each is replayed on a book of its own, and after every
 * line all accounts are compared, those that the table does not show as well.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, openBook } from '../hack/testing/book.ts';
import type { OperationResult } from './operations.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../docs/ledger-operations.md'), 'utf8');
const ACCOUNTS = [
  ...['available', 'held', 'debt', 'issued', 'promotions', 'usage', 'usage/claims', 'usage/triage'],
  ...['breakage', 'revoked', 'clawed_back', 'written_off'],
];
const WALLET = 'acme.main';
const SHOP = 'https://shop.example/';
const SECONDS = { s: 1, h: 3_600, d: 86_400 };

interface Drawn {
  title: string;
  rows: { text: string; cells: Record<string, number> }[];
}

/** Every section that has a table. */
function drawn(page: string): Drawn[] {
  return page.split(/^## /m).flatMap((section) => {
    const [title = ''] = section.split('\n');
    const [header, , ...rows] = section
      .split('\n')
      .filter((text) => text.startsWith('|'))
      .map(cellsOf);
    if (!header) return [];
    const accounts = header.slice(1);
    for (const account of accounts) assert.ok(ACCOUNTS.includes(account), `${title}: ${account}`);
    return [{ title, rows: rows.map(([text = '', ...cells]) => ({ text, cells: amounts(accounts, cells) })) }];
  });
}

function cellsOf(row: string): string[] {
  return row
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

function amounts(accounts: readonly string[], cells: readonly string[]): Record<string, number> {
  const shown = accounts.map((account, index): [string, number] => [account, number(cells[index] ?? '')]);
  return { ...Object.fromEntries(ACCOUNTS.map((account) => [account, 0])), ...Object.fromEntries(shown) };
}

/** `-5,000` -> -5000; nothing is 0. */
function number(text: string): number {
  assert.match(text, /^([+-]?\d{1,3}(,\d{3})*)?$/, `"${text}" is no amount`);
  return Number(text.replaceAll(',', ''));
}

/** What the entries of the whole book say of each account. */
async function booked(book: Book): Promise<Record<string, number>> {
  const rows = await book.database.sql<{ account: string; amount: number }[]>`
    select concat_ws('/', a.kind, nullif(a.offering, '')) as account, coalesce(sum(e.amount), 0)::float8 as amount
      from gsv_ledger.accounts a left join gsv_ledger.entries e on e.account_id = a.id group by 1`;
  return Object.fromEntries(rows.map(({ account, amount }) => [account, amount]));
}

/** Runs the lines of one table. */
class Replay {
  readonly #book: Book;
  #hold = '';
  #grant = '';
  #fulfilment = '';
  constructor(book: Book) {
    this.#book = book;
  }

  async run(command: string): Promise<OperationResult | undefined> {
    const [verb = '', ...words] = command.split(' ');
    const options = Object.fromEntries(words.filter((word) => word.includes('=')).map((word) => word.split('=')));
    const plain = words.filter((word) => !word.includes('='));
    const { operations, queries, key } = this.#book;
    const amount = plain[0] && /^[\d,]+$/.test(plain[0]) ? number(plain[0]) : 0;
    const lines = [{ dimension: 'run', units: 1, amount }];
    const use = { wallet: WALLET, ...(options.offering === undefined ? {} : { offering: options.offering }) };
    switch (verb) {
      case 'wallet':
        return operations.putWallet(WALLET, {
          ownerUid: `uid-${WALLET}`,
          debtPolicy: { floor: number(options.floor ?? '0'), repayFirst: options.repayFirst !== 'false' },
        });
      case 'grant':
        return this.#granted(
          await operations.grant(
            WALLET,
            {
              amount,
              kind: plain.includes('promotional') ? 'promotional' : 'manual',
              ...this.#at('expiresAt', options.expires),
            },
            key(),
          ),
        );
      case 'debit':
        return operations.debit({ ...use, lines }, key());
      case 'hold': {
        const ttlSeconds = seconds(options.ttl ?? '180s');
        const result = await operations.hold({ ...use, amount, ttlSeconds }, key());
        if (result.status === 201) this.#hold = String(result.body.hold);
        return result;
      }
      case 'capture':
        return operations.capture(this.#hold, { lines, final: !plain.includes('partial') }, key());
      case 'void':
        return operations.voidHold(this.#hold, {}, key());
      case 'revoke':
        return operations.revokeGrant(this.#grant, { amount }, key());
      case 'order':
      case 'renew':
        return this.#fulfil(verb, amount, options.paidThrough);
      case 'settle': {
        const [charged = 0, total = 0] = (plain[0] ?? '').split('/').map(Number);
        // The latest word counts, so each is a second later than the one before.
        this.#book.pass(1);
        return operations.settleOrder({ shop: SHOP, order: 'order' }, { charged, total }, key());
      }
      case 'close':
        return operations.closeWallet(WALLET, { forfeit: plain.includes('forfeit') }, key());
      case 'wait':
        this.#book.pass(seconds(plain[0] ?? ''));
        return queries.wallet(WALLET);
      default:
        throw new SyntaxError(`no operation: ${command}`);
    }
  }

  async #fulfil(verb: string, amount: number, paidThrough: string | undefined): Promise<OperationResult> {
    const renews = { fulfilment: this.#fulfilment, period: 'Month' as const, from: this.#book.at(0) };
    const result = await this.#book.operations.recordFulfilment(
      {
        ...{ shop: SHOP, order: verb, line: verb, ordinal: 0, sku: 'S', wallet: WALLET },
        grants: amount === 0 ? [] : [{ amount, kind: verb === 'renew' ? 'included' : 'purchased' }],
        ...(verb === 'renew' ? { renews } : this.#at('paidThrough', paidThrough)),
      },
      this.#book.key(),
    );
    if (verb === 'order') this.#fulfilment = String(result.body.fulfilment);
    return result;
  }

  #granted(result: OperationResult): OperationResult {
    this.#grant = String(result.body.grant);
    return result;
  }

  #at(name: string, duration: string | undefined): Record<string, string> {
    return duration === undefined ? {} : { [name]: this.#book.at(seconds(duration)) };
  }
}

function seconds(text: string): number {
  const [, count, unit] = /^(\d+)([shd])$/.exec(text) ?? [];
  assert.ok(count && unit, `"${text}" is no time`);
  return Number(count) * SECONDS[unit as keyof typeof SECONDS];
}

/** What is wrong with a table; it stops at the first wrong line. */
async function mistakes({ title, rows }: Drawn): Promise<string[]> {
  const book = await openBook();
  try {
    await book.wallet(WALLET, 0);
    const replay = new Replay(book);
    for (const { text, cells } of rows) {
      const before = text === '*balance*' ? {} : await booked(book);
      const [, command, , status, code] = /^`([^`]+)`( is (\d{3}) `(\w+)`)?$/.exec(text) ?? [];
      if (text !== '*balance*') {
        if (command === undefined) return [`${title}: ${text} cannot be read`];
        const result = await replay.run(command);
        const answered = status === undefined ? Number(result?.status) < 300 : result?.body.code === code;
        if (!answered || (status !== undefined && result?.status !== Number(status)))
          return [`${title}: ${text} answers ${result?.status} ${JSON.stringify(result?.body)}`];
      }
      const after = await booked(book);
      for (const account of ACCOUNTS) {
        const found = (after[account] ?? 0) - (before[account] ?? 0);
        if (found !== cells[account])
          return [`${title}: ${text}: ${account} is ${found}, the page says ${cells[account]}`];
      }
    }
    return [];
  } finally {
    await book.close();
  }
}

const tables = drawn(PAGE);

test('every operation that moves money is drawn', () => {
  const verbs = new Set([...PAGE.matchAll(/^\| `(\w+)/gm)].map(([, verb]) => verb));
  for (const verb of [
    'grant',
    'debit',
    'hold',
    'capture',
    'void',
    'wait',
    'order',
    'settle',
    'revoke',
    'renew',
    'close',
  ])
    assert.ok(verbs.has(verb), verb);
  assert.ok(tables.length >= 11);
});

for (const table of tables) {
  test(`drawn and booked alike: ${table.title}`, async () => {
    assert.equal(await mistakes(table), []);
    assert.is(table.rows.at(-1)?.text, '*balance*');
  });
}

test('control: a wrong amount, a wrong account and a refusal that does not come are found', async () => {
  const [first] = tables;
  assert.ok(first);
  for (const [from, to] of [
    ['+30,000', '+30,001'],
    ['| issued |', '| revoked |'],
    ['70,001', '70,000'],
  ] as const) {
    const [wrong] = drawn(PAGE.replace(from, to));
    assert.is(wrong && (await mistakes(wrong)).length, 1, to);
  }
});
