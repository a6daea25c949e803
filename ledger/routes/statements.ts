import { ACCOUNT_COLUMNS } from '../account-statements.ts';
import { toCsv } from '../csv.ts';
import type { Period } from '../statements.ts';
import type { OrderStatement, OrderStatementItem, StatementItem } from '../wire-finance.ts';
import { id, integer, nullable, reply, type Schema, text, time, walletName } from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint, type EndpointCall, pageQuery } from './route.ts';

const amount = integer(-Number.MAX_SAFE_INTEGER);
const level = reply({ balance: integer(0), debt: integer(0) });

/** Columns of the CSV, and members of an item that may be absent after the first seven. */
const COLUMNS = [
  ...['at', 'transaction', 'operation', 'change', 'debtChange', 'balance', 'debt'],
  ...['hold', 'receipt', 'runId', 'instance', 'offering', 'project', 'shop', 'order', 'line', 'commit'],
  ...['contractDigest', 'traceId', 'reason'],
] as const satisfies readonly (keyof StatementItem)[];

const DETAILS = COLUMNS.slice(7);

const item = reply(
  {
    at: time,
    transaction: id,
    operation: text(64),
    change: amount,
    debtChange: amount,
    balance: integer(0),
    debt: integer(0),
    ...Object.fromEntries(DETAILS.map((name) => [name, { type: 'string' }])),
  },
  DETAILS,
);

/** A date alone is its midnight in UTC. */
const moment: Schema = { anyOf: [time, { type: 'string', format: 'date', pattern: '^[1-9]' }] };

const periodQuery = { from: moment, to: moment };

function periodOf(query: EndpointCall['query']): Period {
  return { from: momentOf(query.from), to: momentOf(query.to) };
}

function momentOf(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined;
  return /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text;
}

/** Columns of the orders' CSV. */
const ORDER_COLUMNS = [
  ...['shop', 'order', 'recordedAt', 'units', 'charged', 'total', 'asOf', 'granted', 'takenBack', 'kept', 'remaining'],
] as const satisfies readonly (keyof OrderStatementItem)[];

const sums = { granted: integer(0), takenBack: integer(0), kept: integer(0) };

const order = reply(
  {
    ...{ shop: text(1_024), order: text(253), recordedAt: time, units: integer(1) },
    ...{ charged: integer(0), total: integer(0), asOf: time, ...sums, remaining: integer(0) },
  },
  ['charged', 'total', 'asOf'],
);

const orderQuery = { shop: text(1_024), ...periodQuery };

/** What the shop says is paid of each order, beside the credits that it brought. */
export function orderStatementEndpoints({ orderStatements }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/orders',
      scope: 'read',
      summary: 'Orders recorded in a period: what is paid of each and what of its credits stays',
      query: { ...orderQuery, ...pageQuery },
      replies: {
        200: reply({
          totals: reply({ orders: integer(0), unconfirmed: integer(0), ...sums }),
          items: { type: 'array', items: order },
          next: nullable(text(256)),
        }),
      },
      handle: async ({ query }) =>
        answer(
          await orderStatements.page({
            ...periodOf(query),
            shop: query.shop as string | undefined,
            cursor: query.cursor as string | undefined,
            limit: Number(query.limit),
          }),
        ),
    },
    {
      method: 'GET',
      path: '/v1/orders.csv',
      scope: 'read',
      summary: 'The same for a whole period as CSV',
      query: orderQuery,
      produces: 'text/csv',
      replies: { 200: { type: 'string' } },
      handle: async ({ query }) => {
        const shop = query.shop as string | undefined;
        const { body } = answer(await orderStatements.whole({ ...periodOf(query), shop }));
        return { status: 200, body: toCsv(ORDER_COLUMNS, (body as unknown as OrderStatement).items) };
      },
    },
  ];
}

/** What happened to a wallet's money, for people and for spreadsheets. */
export function statementEndpoints({ statements }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/wallets/:wallet/statement',
      scope: 'read',
      summary: 'What moved in a wallet in a period, with the balance after each step',
      params: { wallet: walletName },
      query: { ...periodQuery, ...pageQuery },
      replies: {
        200: reply(
          {
            wallet: text(253),
            from: time,
            to: time,
            opening: level,
            closing: level,
            items: { type: 'array', items: item },
            next: nullable(text(256)),
          },
          ['from', 'to'],
        ),
      },
      handle: async ({ params, query }) =>
        answer(
          await statements.statement(params.wallet ?? '', {
            ...periodOf(query),
            cursor: query.cursor as string | undefined,
            limit: Number(query.limit),
          }),
        ),
    },
    {
      method: 'GET',
      path: '/v1/wallets/:wallet/statement.csv',
      scope: 'read',
      summary: 'The same for a whole period as CSV, times in UTC and amounts in microcredits',
      params: { wallet: walletName },
      query: periodQuery,
      produces: 'text/csv',
      replies: { 200: { type: 'string' } },
      handle: async ({ params, query }) => {
        const { body } = answer(await statements.whole(params.wallet ?? '', periodOf(query)));
        return { status: 200, body: toCsv(COLUMNS, (body as unknown as { items: StatementItem[] }).items) };
      },
    },
  ];
}

const account = reply({
  account: text(64),
  ...{ opening: amount, change: amount, closing: amount },
  operations: { type: 'object', additionalProperties: amount },
});

/** The trial balance of the book. */
export function accountEndpoints({ accountStatements }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/accounts',
      scope: 'read',
      summary: 'Every account before a period, what moved in it by operation, and after it; columns sum to zero',
      query: periodQuery,
      replies: { 200: reply({ from: time, to: time, items: { type: 'array', items: account } }, ['from', 'to']) },
      handle: async ({ query }) => ({ status: 200, body: { ...(await accountStatements.read(periodOf(query))) } }),
    },
    {
      method: 'GET',
      path: '/v1/accounts.csv',
      scope: 'read',
      summary: 'The same as CSV, without the operations',
      query: periodQuery,
      produces: 'text/csv',
      replies: { 200: { type: 'string' } },
      handle: async ({ query }) => {
        const { items } = await accountStatements.read(periodOf(query));
        return { status: 200, body: toCsv(ACCOUNT_COLUMNS, items) };
      },
    },
  ];
}
