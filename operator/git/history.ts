import { createInterface } from 'node:readline';
import type { Repository } from './repository.ts';
import { parents } from './tree.ts';

/** With more paths than this, matching each against every folder costs more than reading all names. */
const MAX_PATHSPECS = 32;

/**
 * The last commit that touched each group of paths, in one walk over the history that ends as soon as
 * all are found. A group that no commit touched is absent from the answer.
 */
export async function lastCommits(
  { program, gitDirectory }: Repository,
  tip: string,
  groups: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, string>> {
  const open = new Map([...groups].flatMap(([group, paths]) => paths.map((path) => [path, group] as const)));
  const found = new Map<string, string>();
  const args = [`--git-dir=${gitDirectory}`, 'log', '--no-renames', '--name-only', '--format=commit %H', '--stdin'];
  const child = program.start(args);
  child.stdin.on('error', () => undefined);
  child.on('error', () => undefined); // A missing program shows as an empty answer here and as an error elsewhere.
  const paths = [...open.keys()];
  child.stdin.end([tip, '--', ...(paths.length > MAX_PATHSPECS ? [] : paths), ''].join('\n'));
  let commit = '';
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('commit ')) {
      commit = line.slice('commit '.length);
      continue;
    }
    for (const path of [...parents(line), line]) {
      const group = open.get(path);
      if (group !== undefined && !found.has(group)) found.set(group, commit);
    }
    if (found.size === groups.size) break;
  }
  child.kill();
  return found;
}
