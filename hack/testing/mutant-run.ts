import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { childEnvironment } from '../../config/settings.ts';
import { MUTANT_VARIABLE, type Mutant } from './ledger-mutants.ts';

const ROOT = join(import.meta.dirname, '../..');
const HOOK = join(import.meta.dirname, 'mutant-hook.ts');
/** A fault may also make a suite wait for ever; that is noticed, too, before the test that waits here is ended. */
const SUITE_TIMEOUT_MS = 90_000;
const MAX_OUTPUT_BYTES = 67_108_864;

/** Who noticed a fault. */
export interface Verdict {
  mutant: Mutant;
  /** `suite: test`; undefined when nobody did. */
  noticed: string | undefined;
}

/** Runs the suites of a fault until one of them fails. */
export async function hunt(mutant: Mutant): Promise<Verdict> {
  for (const suite of mutant.suites) {
    const failed = await failureOf(suite, mutant.fault);
    if (failed !== undefined) return { mutant, noticed: `${suite}: ${failed}` };
  }
  return { mutant, noticed: undefined };
}

/**
 * The first test of a suite that fails under a fault, undefined when all pass.
 *
 * @param fault absent: the ledger as it is
 */
export async function failureOf(suite: string, fault?: string): Promise<string | undefined> {
  const file = join(ROOT, `${suite}.test.ts`);
  // A test runner's child would report to it and not to us.
  const { NODE_TEST_CONTEXT: _, ...inherited } = { ...childEnvironment(), ...process.env };
  const env = fault === undefined ? inherited : { ...inherited, [MUTANT_VARIABLE]: fault };
  const hook = fault === undefined ? [] : ['--import', HOOK];
  const options = { cwd: ROOT, env, timeout: SUITE_TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
  try {
    await promisify(execFile)(process.execPath, [...hook, '--test-reporter=tap', file], options);
    return undefined;
  } catch (error) {
    const { stdout = '', stderr = '', killed } = error as { stdout?: string; stderr?: string; killed?: boolean };
    const test = /^not ok \d+ - (.*)$/m.exec(stdout)?.[1];
    if (test !== undefined) return test;
    if (killed) return 'does not end';
    // Neither a passing nor a failing test: the suite itself is broken, and has shown nothing.
    throw new Error(`${suite} could not run: ${(stderr || stdout).slice(-1500)}`, { cause: error });
  }
}
