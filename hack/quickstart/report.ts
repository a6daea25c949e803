import { relative } from 'node:path';
import { organizationOf } from '../../crds/kinds.ts';
import { SAMPLE_INPUT } from './first-run.ts';
import type { PhaseError, PhaseTime, Stopwatch } from './phases.ts';
import type { Result } from './quickstart.ts';
import { BUYER, type Stack } from './stack.ts';

export function printPhase({ name, ms }: PhaseTime, detail: string): void {
  process.stdout.write(`  ${name.padEnd(10)}${String(ms).padStart(6)} ms  ${detail}\n`);
}

/** With `machine` the last line is the JSON object that `--once` promises. */
export function printResult({ instance, run, balanceMicrocredits }: Result, watch: Stopwatch, machine: boolean): void {
  const totalMs = sinceProcessStart();
  process.stdout.write(
    `\n${run ? 'order to receipt' : 'order to credits'} done, ${totalMs} ms after the process started\n`,
  );
  if (!machine) return;
  const organization = organizationOf(instance?.metadata.namespace);
  writeJson({
    ok: true,
    phases: watch.phases,
    instance: instance ? `${organization}/${instance.metadata.name}` : null,
    commit: instance?.status?.commit ?? null,
    contractDigest: instance?.status?.contractDigest ?? null,
    receipt: run?.receipt ?? null,
    balanceMicrocredits,
    totalMs,
  });
}

export function printFailure({ phase, code, message }: PhaseError, watch: Stopwatch, machine: boolean): void {
  process.stderr.write(`\n${phase} failed (${code}): ${message}\n`);
  if (machine) {
    writeJson({
      ok: false,
      failedPhase: phase,
      error: { code, message },
      phases: watch.phases,
      totalMs: sinceProcessStart(),
    });
  }
}

/** What a newcomer does next. */
export async function printWelcome(stack: Stack, { instance, run }: Result): Promise<void> {
  const token = await stack.issuer.mint(BUYER, { ttlSeconds: 8 * 3600 });
  const parts = stack.parts.map(([part, embedded]) => `  ${part.padEnd(18)} ${embedded}`).join('\n');
  const path = instance ? `${organizationOf(instance.metadata.namespace)}/${instance.metadata.name}` : undefined;
  process.stdout.write(`
Embedded defaults
${parts}

URLs
  edge     ${stack.gatewayUrl}      catalog ${stack.gatewayUrl}/api/offerings   API ${stack.gatewayUrl}/openapi.json
  ledger   ${stack.ledgerUrl}      (internal; needs a service token)
  issuer   ${stack.issuer.url}

Git repository: what Argo CD would apply
  git --git-dir ${relative(process.cwd(), stack.repository) || '.'} log --stat main
`);
  if (path !== undefined) {
    process.stdout.write(`
Run it yourself (as ${BUYER}, for eight hours)
  curl -sS ${stack.gatewayUrl}/v1/instances/${path}/runs \\
    -H 'Authorization: Bearer ${token}' \\
    -H 'Content-Type: application/json' \\
    -d '${JSON.stringify({ input: SAMPLE_INPUT })}'
  Add -N -H 'Accept: text/event-stream' to see it stream.
${run ? `\nIts first answer\n  ${run.text.split('\n').join('\n  ')}\n` : ''}`);
  }
  process.stdout.write('\nCtrl-C stops it; the next start goes on with the same data.\n');
}

/** Everything from the start of the process, module loading included. */
function sinceProcessStart(): number {
  return Math.round(performance.now());
}

function writeJson(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
