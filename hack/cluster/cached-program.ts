import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { buildFromModules, type Recipe } from './build.ts';
import type { Progress } from './versions.ts';

const CACHE = join(import.meta.dirname, '../../.cache');

/**
 * Path of a program for tests: from `.cache/<name>/`, else built by Go from the published modules, once.
 *
 * @param title as it stands in a sentence
 * @throws Error that says why there is none
 */
export async function cachedProgram(name: string, title: string, recipe: Recipe, progress: Progress): Promise<string> {
  const folder = join(CACHE, name, `${recipe.version}-${fingerprint(recipe)}-${platform()}-${arch()}`);
  const program = join(folder, name);
  if (existsSync(program)) return program;
  try {
    return await buildFromModules(name, recipe, folder, progress);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Error(`There is no ${title}: the cache has none, and it cannot be built. ${why}`, { cause });
  }
}

/** What is built changes with our source and the versions, not with the program's alone. */
function fingerprint({ sources = [], replaced = {}, requirements = [] }: Recipe): string {
  const hash = createHash('sha256');
  for (const source of [...sources, ...Object.values(replaced)]) hash.update(readFileSync(source));
  return hash.update(requirements.join('\n')).digest('hex').slice(0, 8);
}
