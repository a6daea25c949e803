import { findCondition } from '../../crds/conditions.ts';
import { type Contract, reserveMicrocredits } from '../../crds/contract.ts';
import type { Instance } from '../../crds/kinds.ts';
import type { Fulfilment } from '../../ledger/client.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import type { Accepted, InstanceVisit } from './accept.ts';
import { isLedgerRefusal, throughLedger } from './doors.ts';
import type { Lack } from './effective.ts';
import { ledgerWalletName } from './names.ts';

/** Orders are recorded moments before or after their Instance; nobody sends an event for it. */
const FULFILMENT_RETRY_MS = 5_000;
/** The ledger's `wallet.recovered` wakes it at once; this is the safety net. */
const CREDITS_RETRY_MS = 60_000;

/** Funded, by what, and until when that needs no second look. */
export interface Funding {
  by: 'Fulfilment' | 'Wallet';
  /** Set while the exhaustion ladder runs. Only who has begun climbs it; a newcomer waits for its money. */
  lack?: Lack;
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
  return lacking('Fulfilment', visit, contract, endMs, {
    reason: 'FulfilmentExpired',
    message: 'The paid time is over.',
  });
}

async function fundFromWallet(visit: InstanceVisit, accepted: Accepted, { ledger }: Ports): Promise<Funding> {
  const { contract, organization, wallet } = accepted;
  const required = reserveMicrocredits(contract);
  const { available, held } = await throughLedger(() =>
    ledger.getWallet(ledgerWalletName(organization.metadata.name, wallet.metadata.name)),
  );
  // Runs that are going reserve credits for a moment; that exhausts nothing for those who already run.
  if ((everReady(visit) ? available + held : available) >= required) return { by: 'Wallet' };
  const message = `Wallet "${wallet.metadata.name}" does not cover one run of ${required} microcredits.`;
  return lacking('Wallet', visit, contract, exhaustedSinceMs(visit), { reason: 'CreditsExhausted', message });
}

function everReady({ object }: InstanceVisit): boolean {
  return object.status?.timeline?.ready !== undefined;
}

/** When Funded turned False; now, if it is only turning. */
function exhaustedSinceMs(visit: InstanceVisit): number {
  const funded = findCondition(visit.object.status?.conditions, 'Funded');
  return funded?.status === 'False' ? Date.parse(funded.lastTransitionTime) : visit.nowMs;
}

/** @throws Waiting for one that was never ready */
function lacking(
  by: Funding['by'],
  visit: InstanceVisit,
  contract: Contract,
  sinceMs: number,
  what: Omit<Lack, 'rung'>,
): Funding {
  if (!everReady(visit)) throw new Waiting(CREDITS_RETRY_MS, what.reason, what.message);
  const { rung, nextMs } = rungOf(contract.exhaustion, sinceMs, visit.nowMs);
  return { by, lack: { ...what, rung }, againAfterMs: Math.min(nextMs ?? CREDITS_RETRY_MS, CREDITS_RETRY_MS) };
}

/**
 * The rung of an exhaustion ladder that a lack has reached, and the milliseconds to the next. A ladder
 * without `Pause` never pauses: each run is refused by itself.
 */
export function rungOf(
  ladder: Contract['exhaustion'],
  sinceMs: number,
  nowMs: number,
): { rung: Lack['rung']; nextMs?: number } {
  let rung: Lack['rung'] = 'Notify';
  let nextMs: number | undefined;
  for (const { action, afterSeconds } of ladder) {
    const leftMs = sinceMs + afterSeconds * 1000 - nowMs;
    if (leftMs > 0) nextMs = Math.min(leftMs, nextMs ?? leftMs);
    else if (action === 'Terminate' || rung === 'Notify') rung = action;
  }
  return { rung, ...(nextMs === undefined ? {} : { nextMs }) };
}
