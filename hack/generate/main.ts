/**
 * Writes every generated file: `npm run generate`. With `--check` it writes nothing, names the files
 * that would change, and exits with 1 if there are any.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OWN_KINDS } from '../../crds/definitions.ts';
import { conditionsFile } from './conditions.ts';
import { errorsFile } from './errors.ts';
import { annotate, exampleFile } from './examples.ts';
import { healthFiles } from './health.ts';
import { typesFile } from './kinds.ts';
import { metricsFile } from './metrics.ts';
import { sampleOfferings, sampleVersion, sampleVersionFile } from './samples.ts';
import { settingsFile } from './settings.ts';

const ROOT = join(import.meta.dirname, '..', '..');

interface Generator {
  /** Path from the root of the repository. */
  file: string;
  /** @param present the file as it stands; '' when it is not there */
  produce: (present: string) => string | Promise<string>;
}

const GENERATORS: readonly Generator[] = [
  { file: 'crds/generated/kinds.ts', produce: typesFile },
  ...OWN_KINDS.map((kind) => ({ file: exampleFile(kind), produce: annotate })),
  ...sampleOfferings().map((offering) => ({
    file: sampleVersionFile(offering),
    produce: () => sampleVersion(offering),
  })),
  ...healthFiles(),
  { file: 'docs/settings.md', produce: () => settingsFile() },
  { file: 'docs/conditions.md', produce: () => conditionsFile() },
  { file: 'docs/errors.md', produce: () => errorsFile() },
  { file: 'docs/metrics.md', produce: () => metricsFile() },
];

/** Generates into the files below `root`, or only compares. Returns the files that differed. */
export async function generate(
  root: string,
  { check, generators = GENERATORS }: { check: boolean; generators?: readonly Generator[] },
): Promise<string[]> {
  const stale: string[] = [];
  for (const { file, produce } of generators) {
    const path = join(root, file);
    const present = read(path);
    const wanted = await produce(present);
    if (wanted === present) continue;
    stale.push(file);
    if (check) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, wanted);
  }
  return stale;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  const stale = await generate(ROOT, { check });
  for (const file of stale) process.stdout.write(`${check ? 'out of date' : 'written'}: ${file}\n`);
  if (check && stale.length > 0) {
    process.stderr.write('run `npm run generate` and commit what it writes\n');
    process.exitCode = 1;
  }
}
