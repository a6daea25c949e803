import type { FastifyInstance } from 'fastify';
import { organizationNamespace } from '../../crds/kinds.ts';
import { type Entry, LedgerError, type Receipt, type Wallet } from '../../ledger/client.ts';
import { ledgerTrouble } from '../admission/credits.ts';
import type { Membership } from '../admission/entitlement.ts';
import { type Edge, NAME_SCHEMA, nameParams } from '../edge.ts';
import { type EdgeCode, problem } from '../errors.ts';
import { callerOf } from '../identity/authenticate.ts';

const config = { access: 'caller' as const };
const tags = ['accounts'];

const PAGE_QUERY = {
  type: 'object',
  additionalProperties: false,
  properties: {
    cursor: { type: 'string', maxLength: 512 },
    limit: { type: 'integer', minimum: 1, maximum: 100, default: 50 },
  },
};

/** Credits as their owner sees them: balance, entries, receipts. */
export function addAccountRoutes(app: FastifyInstance, edge: Edge): void {
  const params = nameParams('org', 'wallet');
  app.get<{ Params: { org: string; wallet: string } }>(
    '/api/orgs/:org/wallets/:wallet',
    { config, schema: { tags, summary: 'Balance and grants of a Wallet', params } },
    async (request) => {
      const { org, wallet } = request.params;
      requireAccount(edge.entitlements.member(callerOf(request), org, 'wallet_not_found'));
      return walletView(wallet, await fromLedger(edge.ledger.getWallet(`${org}.${wallet}`), 'wallet_not_found'));
    },
  );
  app.get<{ Params: { org: string; wallet: string }; Querystring: { cursor?: string; limit: number } }>(
    '/api/orgs/:org/wallets/:wallet/entries',
    { config, schema: { tags, summary: 'Postings of a Wallet', params, querystring: PAGE_QUERY } },
    async (request) => {
      const { org, wallet } = request.params;
      requireAccount(edge.entitlements.member(callerOf(request), org, 'wallet_not_found'));
      const page = await fromLedger(edge.ledger.entries(`${org}.${wallet}`, request.query), 'wallet_not_found');
      return { items: page.items.map(entryView), next: page.next };
    },
  );
  const receiptPath = {
    type: 'object',
    properties: { org: NAME_SCHEMA, receipt: { type: 'string', pattern: '^[\\w-]{1,64}$' } },
    required: ['org', 'receipt'],
  };
  app.get<{ Params: { org: string; receipt: string } }>(
    '/api/orgs/:org/receipts/:receipt',
    { config, schema: { tags, summary: 'A priced receipt', params: receiptPath } },
    async (request) => {
      const { org } = request.params;
      const membership = edge.entitlements.member(callerOf(request), org, 'receipt_not_found');
      const receipt = await fromLedger(edge.ledger.receipt(request.params.receipt), 'receipt_not_found');
      if (!receipt.wallet.startsWith(`${org}.`)) throw problem('receipt_not_found');
      requireReceipt(edge, membership, org, receipt);
      return receiptView(receipt);
    },
  );
}

/** A Wallet shows what all Projects spend, so one Project's role is not enough. */
function requireAccount(membership: Membership): void {
  if (!membership.mayAnywhere('spend') && !membership.may('read', undefined)) throw problem('forbidden');
}

/** Who may read an Instance may read what its runs cost. */
function requireReceipt(edge: Edge, membership: Membership, organization: string, receipt: Receipt): void {
  if (membership.mayAnywhere('spend') || membership.may('read', undefined)) return;
  const name = receipt.context.instance?.split('/')[1] ?? '';
  const namespace = organizationNamespace(organization);
  const instance = edge.store.watch('Instance').get({ namespace, name });
  if (!instance || !membership.may('read', instance.spec.projectRef.name)) throw problem('forbidden');
}

async function fromLedger<T>(call: Promise<T>, absent: EdgeCode): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    if (error.status === 404) throw problem(absent, { cause: error });
    if (error.status === 422 || error.status === 400) throw problem('cursor_invalid', { cause: error });
    throw ledgerTrouble(error);
  }
}

function walletView(name: string, wallet: Wallet): Record<string, unknown> {
  return {
    wallet: name,
    availableMicrocredits: wallet.available,
    heldMicrocredits: wallet.held,
    debtMicrocredits: wallet.debt,
    grants: wallet.grants.map(({ amount, remaining, held, ...grant }) => ({
      ...grant,
      amountMicrocredits: amount,
      remainingMicrocredits: remaining,
      heldMicrocredits: held,
    })),
  };
}

function entryView({ amount, ...entry }: Entry): Record<string, unknown> {
  return { ...entry, amountMicrocredits: amount };
}

function receiptView(receipt: Receipt): Record<string, unknown> {
  const { instance, contractDigest, order, line, commit, traceId, runId } = receipt.context;
  return {
    id: receipt.receipt,
    wallet: receipt.wallet.slice(receipt.wallet.indexOf('.') + 1),
    at: receipt.at,
    amountMicrocredits: receipt.amount,
    lines: receipt.lines.map(({ dimension, units, amount }) => ({ dimension, units, amountMicrocredits: amount })),
    grants: receipt.grants.map(({ grant, amount }) => ({ grant, amountMicrocredits: amount })),
    ...(receipt.overrun
      ? {
          overrun: {
            fromAvailableMicrocredits: receipt.overrun.fromAvailable,
            debtMicrocredits: receipt.overrun.debt,
            writtenOffMicrocredits: receipt.overrun.writtenOff,
          },
        }
      : {}),
    ...{ instance, contractDigest, order, line, commit, traceId, runId },
  };
}
