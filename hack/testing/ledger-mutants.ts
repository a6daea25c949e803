/**
 * Deliberate faults in the ledger, one at a time, and the suites that must notice them: a proof of the proofs. A fault
 * is a change of one text, in a function of the migrated database or in a source file; a text that is not there exactly
 * once is an error, so that no fault is silently none.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sql, TransactionSql } from 'postgres';
import { HOT_MUTANTS } from './mutants-hot.ts';
import { RARE_MUTANTS } from './mutants-rare.ts';
import { SOURCE_MUTANTS } from './mutants-source.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Names the fault of a test process; see {@link mutate} and `mutant-hook.ts`. */
export const MUTANT_VARIABLE = 'GSV_TEST_MUTANT';

export interface Mutant {
  /** What is wrong, in a few words; also its name. */
  fault: string;
  /** A function of the database, or a file of the source. */
  in: { sql: string } | { file: string };
  from: string;
  to: string;
  /** Suites that must notice, the likeliest and fastest first. */
  suites: readonly string[];
}

export const MUTANTS: readonly Mutant[] = [...RARE_MUTANTS, ...HOT_MUTANTS, ...SOURCE_MUTANTS];

/** @throws Error when there is no such fault */
export function mutantOf(name: string): Mutant {
  const found = MUTANTS.find(({ fault }) => fault === name);
  if (!found) throw new Error(`there is no mutant "${name}"`);
  return found;
}

/** @throws Error when the text is not there exactly once */
export function mutated({ fault, from, to }: Mutant, text: string): string {
  const parts = text.split(from);
  if (parts.length !== 2) throw new Error(`mutant "${fault}": the text is there ${parts.length - 1} times: ${from}`);
  return parts.join(to);
}

/** Builds the fault that the environment names into a database, if it is one of the database. */
export async function mutate(admin: Sql): Promise<void> {
  const name = process.env[MUTANT_VARIABLE];
  if (name) await admin.begin((tx) => mutateIn(tx, mutantOf(name)));
}

/** As {@link mutate}, in a transaction of the caller. */
export async function mutateIn(tx: TransactionSql, mutant: Mutant): Promise<void> {
  if (!('sql' in mutant.in)) return;
  await tx`set local search_path = gsv_ledger, pg_temp`;
  const [row] = await tx<{ source: string }[]>`
    select pg_get_functiondef(oid) as source from pg_proc
      where pronamespace = 'gsv_ledger'::regnamespace and proname = ${mutant.in.sql}`;
  await tx.unsafe(mutated(mutant, row?.source ?? ''));
}

/** The source of a file with the fault in it. */
export async function mutatedFile(mutant: Mutant): Promise<string> {
  if (!('file' in mutant.in)) throw new Error(`mutant "${mutant.fault}" is none of a file`);
  return mutated(mutant, await readFile(join(ROOT, mutant.in.file), 'utf8'));
}
