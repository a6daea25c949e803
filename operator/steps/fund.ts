import { findCondition } from '../../crds/conditions.ts';
import { type Contract, reserveMicrocredits } from '../../crds/contract.ts';
import type { Instance } from '../../crds/kinds.ts';
import type { Fulfilment } from '../../ledger/client.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import type { Accepted, InstanceVisit } from './accept.ts';
import { isLedgerRefusal, throughLedger } from './doors.ts';
import { ledgerWalletName } from './names.ts';

/** Orders are recorded moments before or after their Instance; nobody sends an event for it. */
const FULFILMENT_RETRY_MS = 5_000;
/** The ledger's `wallet.recovered` wakes it at once; this is the safety net. */
const CREDITS_RETRY_MS = 60_000;

/** Funded, by what, and until when that needs no second look. */
export interface Funding {
  by: 'Fulfilment' | 'Wallet';
  /** Set while the exhaustion ladder runs and has not paused the Instance yet. */
  warning?: { reason: 'FulfilmentExpired' | 'CreditsExhausted'; message: string };
  againAfterMs?: number;
}

/** `fund`: a paid fulfilment, or a wallet that covers the minimum. It verifies and claims; it never grants credits. */
export async function fund(visit: InstanceVisit, accepted: Accepted, ports: Ports): Promise<Funding> {
  const { fulfilment } = visit.object.spec;
  return fulfilment === undefined
    ? fundFromWallet(visit, accepted, ports)
    : fundFromFulfilment(visit, accepted, fulfilment, ports);
}

type Claim = NonNullable<Instance['spec']['fulfilment']>;

async function fundFromFulfilment(
  visit: InstanceVisit,
  accepted: Accepted,
  claim: Claim,
  { ledger }: Ports,
): Promise<Funding> {
  const found = await throughLedger(() => ledger.findFulfilments(claim));
  const unit = found.find((each) => each.line === claim.line && each.ordinal === claim.ordinal);
  const name = `unit ${claim.ordinal} of order line ${claim.line}`;
  if (unit === undefined)
    throw new Waiting(FULFILMENT_RETRY_MS, 'FulfilmentNotFound', `The ledger knows no paid ${name}.`);
  checkMatch(visit.object, unit, accepted, name);
  const { uid } = visit.object.metadata;
  if (unit.instanceUid !== uid) {
    if (unit.instanceUid !== undefined) throw alreadyClaimed(name);
    await claimUnit(unit, uid, name, ledger);
  }
  visit.status.fulfilment = unit.fulfilment;
  visit.status.timeline = { ...visit.status.timeline, ordered: visit.status.timeline?.ordered ?? unit.createdAt };
  return paidThrough(visit, unit, accepted.contract);
}

function checkMatch(instance: Instance, unit: Fulfilment, { organization, wallet }: Accepted, name: string): void {
  const { spec } = instance;
  const expected: [what: string, paid: string | undefined, wanted: string][] = [
    ['offering', unit.offering, spec.offeringRef.name],
    ['plan', unit.plan, spec.plan],
    ['wallet', unit.wallet, ledgerWalletName(organization.metadata.name, wallet.metadata.name)],
  ];
  for (const [what, paid, wanted] of expected)
    if (paid !== wanted)
      throw new Terminal('FulfilmentMismatch', `The ${what} that ${name} was paid for is not "${wanted}".`);
}

async function claimUnit(unit: Fulfilment, uid: string, name: string, ledger: Ports['ledger']): Promise<void> {
  try {
    await throughLedger(() => ledger.claimFulfilment(unit.fulfilment, { instanceUid: uid }));
  } catch (error) {
    if (isLedgerRefusal(error, 'already_claimed')) throw alreadyClaimed(name);
    throw error;
  }
}

function alreadyClaimed(name: string): Terminal {
  return new Terminal('FulfilmentAlreadyClaimed', `The paid ${name} was used by another Instance.`);
}

function paidThrough(visit: InstanceVisit, unit: Fulfilment, contract: Contract): Funding {
  if (unit.paidThrough === undefined) return { by: 'Fulfilment' };
  const endMs = Date.parse(unit.paidThrough);
  if (visit.nowMs < endMs) return { by: 'Fulfilment', againAfterMs: endMs - visit.nowMs };
  const message = 'The paid time is over.';
  const grace = graceLeftMs(contract, endMs, visit.nowMs) ?? 0;
  if (grace <= 0) throw new Waiting(CREDITS_RETRY_MS, 'FulfilmentExpired', message);
  return { by: 'Fulfilment', warning: { reason: 'FulfilmentExpired', message }, againAfterMs: grace };
}

async function fundFromWallet(visit: InstanceVisit, accepted: Accepted, { ledger }: Ports): Promise<Funding> {
  const { contract, organization, wallet } = accepted;
  const required = reserveMicrocredits(contract);
  const { available, held } = await throughLedger(() =>
    ledger.getWallet(ledgerWalletName(organization.metadata.name, wallet.metadata.name)),
  );
  const everReady = visit.object.status?.timeline?.ready !== undefined;
  // Runs that are going reserve credits for a moment; that exhausts nothing for those who already run.
  if ((everReady ? available + held : available) >= required) return { by: 'Wallet' };
  const message = `Wallet "${wallet.metadata.name}" does not cover one run of ${required} microcredits.`;
  const exhausted = new Waiting(CREDITS_RETRY_MS, 'CreditsExhausted', message);
  if (!everReady) throw exhausted;
  const grace = graceLeftMs(contract, exhaustedSinceMs(visit), visit.nowMs);
  if (grace !== undefined && grace <= 0) throw exhausted;
  const warning = { reason: 'CreditsExhausted' as const, message };
  return { by: 'Wallet', warning, againAfterMs: Math.min(grace ?? CREDITS_RETRY_MS, CREDITS_RETRY_MS) };
}

/** When Funded turned False; now, if it is only turning. */
function exhaustedSinceMs(visit: InstanceVisit): number {
  const funded = findCondition(visit.object.status?.conditions, 'Funded');
  return funded?.status === 'False' ? Date.parse(funded.lastTransitionTime) : visit.nowMs;
}

/** Until the ladder of the contract pauses the Instance; undefined = it never does, and each run is refused by itself. */
function graceLeftMs(contract: Contract, sinceMs: number, nowMs: number): number | undefined {
  const rung = contract.exhaustion.find(({ action }) => action !== 'Notify');
  return rung === undefined ? undefined : sinceMs + rung.afterSeconds * 1000 - nowMs;
}
