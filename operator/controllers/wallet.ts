import type { WalletSpec, WalletStatus } from '../../crds/generated/kinds.ts';
import { type Organization, organizationNamespace, organizationOf } from '../../crds/kinds.ts';
import { keyText } from '../../crds/store.ts';
import type { Wallet as LedgerWallet, WalletBody } from '../../ledger/client.ts';
import { LedgerError } from '../../ledger/client.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { reconciler, type Visit } from '../runtime/visit.ts';
import { isLedgerRefusal, throughLedger } from '../steps/doors.ts';
import { ledgerWalletName } from '../steps/names.ts';
import {
  byNamespace,
  CONCURRENCY,
  type ControllerContext,
  type Definition,
  dependency,
  finalizerOf,
  own,
} from './definition.ts';
import type { LedgerFeed } from './ledger-feed.ts';
import { owningOrganization } from './owner.ts';

type WalletVisit = Visit<'Wallet'>;
type Balance = NonNullable<WalletStatus['balance']>;

/** The snapshot is coarse on purpose: the ledger is the book, status only a hint for people. */
const SNAPSHOT_MS = 60_000;
/** Money leaves a wallet when people spend it. */
const CLOSE_RETRY_MS = 15_000;

/** Wallet: the ledger's wallet of the same owner, with policy, thresholds and caps. */
export function walletController({ ports, metrics }: ControllerContext, feed: LedgerFeed): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Wallet',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Wallet',
      finalizer: finalizerOf('Wallet'),
      clock,
      log,
      metrics,
      up: async (visit) => {
        const organization = owningOrganization(visit.key, ports);
        await visit.persistFinalizer();
        noteBalance(visit, await putWallet(visit, organization, ports));
        return undefined;
      },
      down: (visit) => closeWallet(visit, ports),
    }),
    watch: (add) => {
      const index = byNamespace(store, 'Wallet');
      return [
        index.close,
        own(store, 'Wallet', add),
        dependency(store, 'Organization', add, ({ name }) => index.referring(organizationNamespace(name))),
        feed.onWallet((key) => add(keyText(key))),
      ];
    },
  };
}

async function putWallet(visit: WalletVisit, organization: Organization, { ledger }: Ports): Promise<LedgerWallet> {
  const { metadata, spec } = visit.object;
  const { debtPolicy, lowBalanceThresholdsMicrocredits: thresholds, monthlyCaps } = spec;
  const body: WalletBody = {
    ownerUid: metadata.uid,
    ...(debtPolicy ? { debtPolicy: debtPolicyOf(debtPolicy) } : {}),
    ...(thresholds ? { thresholds } : {}),
    ...(monthlyCaps ? { caps: monthlyCaps.map((cap) => ({ project: cap.project, amount: cap.capMicrocredits })) } : {}),
  };
  try {
    return await throughLedger(() =>
      ledger.putWallet(ledgerWalletName(organization.metadata.name, metadata.name), body),
    );
  } catch (error) {
    if (isLedgerRefusal(error, 'owner_mismatch'))
      throw new Terminal('WalletOwnerMismatch', 'The ledger’s wallet of this name belongs to an earlier object.');
    if (error instanceof LedgerError && (error.status === 422 || error.status === 400))
      throw new Terminal('WalletInvalid', error.message);
    throw error;
  }
}

/** Absent `newCredits` leaves the choice to the ledger. */
function debtPolicyOf(policy: NonNullable<WalletSpec['debtPolicy']>): NonNullable<WalletBody['debtPolicy']> {
  const floor = policy.floorMicrocredits;
  return policy.newCredits === undefined ? { floor } : { floor, repayFirst: policy.newCredits === 'RepayDebt' };
}

function noteBalance(visit: WalletVisit, { available, held, debt }: LedgerWallet): void {
  const old = visit.object.status?.balance;
  const next: Balance = {
    availableMicrocredits: available,
    heldMicrocredits: held,
    debtMicrocredits: debt,
    observedTime: visit.now,
  };
  if (old === undefined) visit.status.balance = next;
  else if (!sameAmounts(old, next)) {
    // The first money is what somebody waits to see.
    const waitMs = isEmpty(old) ? 0 : Date.parse(old.observedTime) + SNAPSHOT_MS - visit.nowMs;
    if (waitMs <= 0) visit.status.balance = next;
    else visit.againAfterMs = waitMs;
  }
}

function isEmpty({ availableMicrocredits, heldMicrocredits, debtMicrocredits }: Balance): boolean {
  return availableMicrocredits === 0 && heldMicrocredits === 0 && debtMicrocredits === 0;
}

function sameAmounts(a: Balance, b: Balance): boolean {
  return (
    a.availableMicrocredits === b.availableMicrocredits &&
    a.heldMicrocredits === b.heldMicrocredits &&
    a.debtMicrocredits === b.debtMicrocredits
  );
}

/** Only our own: a successor of the same name has another owner and keeps its money. */
async function closeWallet(visit: WalletVisit, { ledger }: Ports): Promise<void> {
  const { name: wallet, uid } = visit.object.metadata;
  const name = ledgerWalletName(organizationOf(visit.key.namespace) ?? '', wallet);
  try {
    const present = await throughLedger(() => ledger.getWallet(name));
    if (present.ownerUid !== uid || present.state === 'closed') return;
    noteBalance(visit, present);
    await throughLedger(() => ledger.closeWallet(name, { forfeit: false }, `close:${uid}`));
  } catch (error) {
    if (isLedgerRefusal(error, 'wallet_not_found', 'wallet_closed')) return;
    if (isLedgerRefusal(error, 'wallet_not_empty'))
      throw new Waiting(CLOSE_RETRY_MS, 'WalletNotEmpty', 'The wallet holds money or open holds.');
    throw error;
  }
}
