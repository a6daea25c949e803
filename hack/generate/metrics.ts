import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { code, GENERATED, table } from './markdown.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** A figure as the sources declare it. */
export interface Metric {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  labels: string[];
  help: string;
}

const SECTIONS = [
  { title: 'Ledger', folder: 'ledger' },
  { title: 'Operator', folder: 'operator' },
  { title: 'Edge', folder: 'gateway', except: 'gateway/runner' },
  { title: 'Runner', folder: 'gateway/runner' },
] as const;

/** What somebody should be woken by, or look at in the morning; what to do then is on the page. */
const ALARMS = [
  ['`gsv_ledger_unbalanced_transactions > 0`', 'a transaction does not sum to zero', 'ledger-runbook.md'],
  ['`delta(gsv_ledger_chain_links[1h]) < 0`', 'the book is shorter than it was', 'ledger-runbook.md'],
  ['`gsv_ledger_oldest_open_hold_seconds` above the longest run', 'runs do not settle', 'ledger-runbook.md'],
  ['`gsv_ledger_inbox_items{state="parked"} > 0`', 'a paid order waits for a person', 'commerce.md'],
  ['`gsv_ledger_outbox_oldest_seconds > 3600`', 'OpenMeter is not told', 'openmeter.md'],
  ['`gsv_ledger_outbox_parked > 0`', 'OpenMeter refuses an event', 'openmeter.md'],
  ['`sum(gsv_operator_leader) != 1` for a minute', 'nobody leads, or two believe it', 'leadership.md'],
  ['`gsv_audit_orphans > 0`', 'something costs money or holds a secret and belongs to nothing', 'audit.md'],
  ['`increase(gsv_runs_unsettled_total[1h]) > 0`', 'runs were executed and not charged', 'ledger-runbook.md'],
] as const;

/** `docs/metrics.md`: every figure of every process. */
export function metricsFile(): string {
  const sections = SECTIONS.map(({ title, ...where }) => {
    const rows = metricsOf(where).map(({ name, type, labels, help }) => [
      code(name),
      type,
      labels.map(code).join(', '),
      help.replace(/([^.])$/, '$1.'),
    ]);
    return `## ${title}\n\n${table(['metric', 'type', 'labels', 'meaning'], rows)}\n`;
  });
  const alarms = ALARMS.map(([when, means, page]) => [when, means, `[${page}](${page})`]);
  return `${GENERATED('the sources')}
# Metrics

\`GSV_OPS_PORT\` of a process serves \`/metrics\` in the text format of Prometheus, without a token. Every series has the label \`part\`: \`ledger\`, \`operator\`, \`gateway\` or \`runner\`. No label holds a name that callers choose. Seconds are seconds, amounts microcredits. Besides these each process has the figures of prom-client about itself with the prefix \`gsv_\` (\`gsv_process_…\`, \`gsv_nodejs_…\`).

## What to be told of

${table(['when', 'it means', 'what to do'], alarms)}

${sections.join('\n')}`;
}

/** The figures that the sources of a folder declare, in the order of their names. */
export function metricsOf({ folder, except }: { folder: string; except?: string }): Metric[] {
  return sources(folder, except)
    .flatMap(metricsIn)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** @throws SyntaxError for a declaration that it cannot read: one that is not on the page would be missing in silence */
export function metricsIn(text: string): Metric[] {
  const declared = [
    ...text.matchAll(
      /new (Counter|Gauge|Histogram)(?:<[^>]*>)?\(\{\s*name: '(\w+)',\s*help:\s*'((?:\\.|[^'\\])*)',(?:\s*labelNames: \[([^\]]*)\])?/g,
    ),
  ];
  const all = [...text.matchAll(/new (?:Counter|Gauge|Histogram)\b/g)].length;
  if (all !== declared.length) throw new SyntaxError('a metric must begin with name, help and labelNames, as texts');
  return declared.map(([, type = '', name = '', help = '', labels = '']) => ({
    name,
    type: type.toLowerCase() as Metric['type'],
    labels: [...labels.matchAll(/'(\w+)'/g)].map(([, label]) => label ?? ''),
    help: help.replaceAll("\\'", "'"),
  }));
}

function sources(folder: string, except: string | undefined): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => `${folder}/${file}`)
    .filter((file) => file.endsWith('.ts') && !/\.(test|suite|real|soak)\.ts$/.test(file))
    .filter((file) => except === undefined || !file.startsWith(`${except}/`))
    .sort()
    .map((file) => readFileSync(join(ROOT, file), 'utf8'));
}
