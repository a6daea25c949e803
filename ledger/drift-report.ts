import { parseArgs } from 'node:util';
import type { DriftQuery, DriftReply } from './drift.ts';
import { DRIFT_KINDS, type DriftKind, LISTED_PER_KIND } from './drift-kinds.ts';

/**
 * What stands behind `npm run ledger -- drift`. A date alone is its midnight in UTC.
 *
 * @throws TypeError that says which argument is wrong
 */
export function driftArguments(args: readonly string[]): DriftQuery & { json: boolean } {
  const { values } = parseArgs({
    args: [...args],
    options: {
      from: { type: 'string' },
      to: { type: 'string' },
      wallet: { type: 'string' },
      meter: { type: 'string' },
      'units-meter': { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const { from, to, wallet, meter, json } = values;
  return {
    from: timeOf('--from', from),
    to: timeOf('--to', to),
    wallet,
    meter,
    unitsMeter: values['units-meter'],
    json,
  };
}

function timeOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const isTime = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const at = new Date(text);
  if (!isTime || Number.isNaN(at.getTime()))
    throw new TypeError(`${name} must be a date or a time like 2026-10-01T00:00:00Z`);
  return at.toISOString();
}

/** The report for a person: what was compared, then each kind with its meaning and its names. */
export function driftText(report: DriftReply): string {
  const { ledger, openmeter } = report;
  const lines = [
    `${report.wallet ?? 'all wallets'}, ${report.from ?? 'the beginning'} to ${report.to ?? 'now'}`,
    `ledger: ${ledger.receipts} receipts over ${ledger.amount} microcredits, ${ledger.runs} of them of runs`,
    openmeter
      ? `OpenMeter: ${openmeter.events} events over ${openmeter.amount} microcredits, ${openmeter.waiting} on their way`
      : 'OpenMeter: not compared, GSV_OPENMETER_URL is not set',
    ...Object.entries(report.counts).flatMap(([kind, count]) => kindLines(report, kind as DriftKind, count)),
    report.ok ? 'no difference' : '',
  ];
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}

function kindLines(report: DriftReply, kind: DriftKind, count: number): string[] {
  const named = report.differences.filter((difference) => difference.kind === kind);
  return [
    `${kind} (${count}): ${DRIFT_KINDS[kind]}`,
    ...named.map(({ name, wallet, detail }) => `  ${name}${wallet === undefined ? '' : ` of ${wallet}`}: ${detail}`),
    ...(count > named.length ? [`  and ${count - named.length} more; at most ${LISTED_PER_KIND} are listed`] : []),
  ];
}
