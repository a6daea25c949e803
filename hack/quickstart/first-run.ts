import { randomUUID } from 'node:crypto';
import { type Instance, organizationOf } from '../../crds/kinds.ts';
import type { LedgerClient } from '../../ledger/client.ts';
import { PhaseError, type Stopwatch } from './phases.ts';

export const SAMPLE_INPUT = 'A pipe burst in my kitchen on Friday and the floor is ruined. Policy HX-2041.';

interface RunReply {
  runId: string;
  output: { text: string };
  receipt: {
    id: string;
    amountMicrocredits: number;
    lines: { dimension: string; units: number; amountMicrocredits: number }[];
  };
  balanceMicrocredits: number;
}

export interface FirstRun {
  text: string;
  receipt: RunReply['receipt'];
  balanceMicrocredits: number;
}

/** Runs the Instance as its buyer and checks the receipt against the ledger. @throws PhaseError run/… or receipt/… */
export async function firstRun(
  instance: Instance,
  gatewayUrl: string,
  token: string,
  ledger: LedgerClient,
  watch: Stopwatch,
): Promise<FirstRun> {
  const organization = organizationOf(instance.metadata.namespace) ?? '';
  const reply = await run(`${gatewayUrl}/v1/instances/${organization}/${instance.metadata.name}/runs`, token);
  watch.end('run', reply.output.text.replaceAll(/\s+/g, ' ').slice(0, 100));
  const balanceMicrocredits = await checkReceipt(
    reply,
    instance,
    `${organization}.${instance.spec.walletRef.name}`,
    ledger,
  );
  watch.end('receipt', `${reply.receipt.id}: ${reply.receipt.amountMicrocredits} microcredits`);
  return { text: reply.output.text, receipt: reply.receipt, balanceMicrocredits };
}

async function run(url: string, token: string): Promise<RunReply> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': randomUUID() },
    body: JSON.stringify({ input: SAMPLE_INPUT }),
  });
  const body = (await response.json()) as RunReply & { code?: string; detail?: string };
  if (!response.ok)
    throw new PhaseError('run', body.code ?? `http_${response.status}`, body.detail ?? 'the run failed');
  return body;
}

/** A receipt is right when the ledger has it, it adds up, and it names order line, commit, contract and trace. */
async function checkReceipt(
  reply: RunReply,
  instance: Instance,
  wallet: string,
  ledger: LedgerClient,
): Promise<number> {
  const booked = await ledger.receipt(reply.receipt.id);
  const { context } = booked;
  const sum = booked.lines.reduce((total, line) => total + line.amount, 0);
  const { available } = await ledger.getWallet(wallet);
  const wrong = [
    [booked.amount === reply.receipt.amountMicrocredits, 'the amount differs from the one in the book'],
    [sum === booked.amount, 'the lines do not add up to the amount'],
    [context.commit === instance.status?.commit, 'it does not name the commit'],
    [context.contractDigest === instance.status?.contractDigest, 'it does not name the contract'],
    [context.line === instance.spec.fulfilment?.line, 'it does not name the order line'],
    [/^[0-9a-f]{32}$/.test(context.traceId ?? ''), 'it does not name the trace'],
    [available === reply.balanceMicrocredits, 'the balance differs from the one in the book'],
  ].flatMap(([right, sentence]) => (right ? [] : [sentence]));
  if (wrong.length > 0)
    throw new PhaseError('receipt', 'receipt_wrong', `the receipt ${reply.receipt.id} is wrong: ${wrong.join('; ')}`);
  return available;
}
