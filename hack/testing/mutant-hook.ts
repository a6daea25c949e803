/** `node --import hack/testing/mutant-hook.ts`: loads one file with the fault in it that the environment names. */
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MUTANT_VARIABLE, mutantOf, mutatedFile } from './ledger-mutants.ts';

const mutant = mutantOf(process.env[MUTANT_VARIABLE] ?? '');
if ('file' in mutant.in) {
  const url = pathToFileURL(join(import.meta.dirname, '../..', mutant.in.file)).href;
  const source = await mutatedFile(mutant);
  registerHooks({
    load: (asked, context, next) => (asked === url ? { ...next(asked, context), source } : next(asked, context)),
  });
}
