import type { GrantBody, WalletBody } from '../wire.ts';
import {
  boolean,
  context,
  grantFields,
  grantKind,
  id,
  integer,
  list,
  name,
  newWalletName,
  nullable,
  object,
  page,
  reply,
  scope,
  source,
  text,
  time,
  uid,
  walletName,
} from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint, pageQuery } from './route.ts';

const wallet = reply(
  {
    wallet: name,
    ownerUid: uid,
    available: integer(0),
    held: integer(0),
    debt: integer(0),
    grants: {
      type: 'array',
      items: reply({
        grant: id,
        kind: grantKind,
        priority: integer(0),
        expiresAt: nullable(time),
        scope: nullable(scope),
        amount: integer(0),
        remaining: integer(0),
        held: integer(0),
      }),
    },
  },
  ['ownerUid'],
);

const entry = reply(
  {
    entry: id,
    transaction: id,
    operation: text(64),
    account: text(300),
    amount: integer(-Number.MAX_SAFE_INTEGER),
    at: time,
    hold: id,
    receipt: id,
    context,
  },
  ['hold', 'receipt', 'context'],
);

/** Wallets: create, read, close, grant by hand, and the book of one wallet. */
export function walletEndpoints({ operations, queries }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'PUT',
      path: '/v1/wallets/:wallet',
      scope: 'wallets',
      summary: 'Create or update a wallet',
      params: { wallet: newWalletName },
      body: object(
        {
          ownerUid: uid,
          debtPolicy: object({ floor: integer(-Number.MAX_SAFE_INTEGER, 0), repayFirst: boolean }),
          thresholds: list(integer(0)),
          caps: list(object({ project: name, amount: integer(0) }, ['project', 'amount'])),
        },
        ['ownerUid'],
      ),
      replies: { 200: wallet },
      handle: async ({ params, body, epoch }) =>
        answer(await operations.putWallet(params.wallet ?? '', body as WalletBody, epoch)),
    },
    {
      method: 'GET',
      path: '/v1/wallets',
      scope: 'read',
      summary: 'Open wallets and their owners, without balances',
      query: pageQuery,
      replies: { 200: page(reply({ wallet: name, ownerUid: uid }, ['ownerUid'])) },
      handle: async ({ query }) =>
        answer(await queries.wallets({ cursor: query.cursor as string | undefined, limit: Number(query.limit) })),
    },
    {
      method: 'GET',
      path: '/v1/wallets/:wallet',
      scope: 'read',
      summary: 'Balance and grants of a wallet, due expiries booked',
      params: { wallet: walletName },
      replies: { 200: wallet },
      handle: async ({ params }) => answer(await queries.wallet(params.wallet ?? '')),
    },
    {
      method: 'POST',
      path: '/v1/wallets/:wallet/close',
      scope: 'wallets',
      summary: 'Close an empty wallet, or forfeit what is in it',
      keyed: true,
      params: { wallet: walletName },
      body: object({ forfeit: boolean }),
      replies: { 200: reply({ wallet: name, state: text(16) }) },
      handle: async ({ params, body, key, epoch }) =>
        answer(await operations.closeWallet(params.wallet ?? '', body as { forfeit?: boolean }, { key, ...epoch })),
    },
    {
      method: 'POST',
      path: '/v1/wallets/:wallet/grants',
      scope: 'grants',
      summary: 'Grant credits by hand',
      keyed: true,
      params: { wallet: walletName },
      body: object({ ...grantFields, source }, ['amount', 'kind']),
      replies: { 201: reply({ grant: id, wallet: name, amount: integer(1), remaining: integer(0) }) },
      handle: async ({ params, body, key, epoch }) =>
        answer(await operations.grant(params.wallet ?? '', body as GrantBody, { key, ...epoch })),
    },
    {
      method: 'POST',
      path: '/v1/grants/:grant/revoke',
      scope: 'grants',
      summary: 'Take credits of a grant back; what was spent becomes debt',
      keyed: true,
      params: { grant: id },
      body: object({ amount: integer(1), reason: text(1024) }),
      replies: { 200: reply({ revoked: integer(0), debt: integer(0), writtenOff: integer(0) }, ['writtenOff']) },
      handle: async ({ params, body, key, epoch }) =>
        answer(
          await operations.revokeGrant(params.grant ?? '', body as { amount?: number; reason?: string }, {
            key,
            ...epoch,
          }),
        ),
    },
    {
      method: 'GET',
      path: '/v1/wallets/:wallet/entries',
      scope: 'read',
      summary: 'The book of a wallet, contra entries included',
      params: { wallet: walletName },
      query: pageQuery,
      replies: { 200: page(entry) },
      handle: async ({ params, query }) =>
        answer(
          await queries.entries(params.wallet ?? '', {
            cursor: query.cursor as string | undefined,
            limit: Number(query.limit),
          }),
        ),
    },
  ];
}
