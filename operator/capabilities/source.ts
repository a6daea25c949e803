import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { GitProgram } from '../git/program.ts';
import { checkBranch } from '../git/remote.ts';
import { remoteFailure } from '../git/words.ts';

export interface Source {
  folder: string;
  /** Removes what was fetched; nothing for a folder of this machine. */
  close: () => Promise<void>;
}

/** `https://…`, `ssh://…`, `git://…`, `file://…` and `user@host:path` are Git; everything else is a folder. */
export function isGitUrl(source: string): boolean {
  return /^(https?|ssh|git|file):\/\//.test(source) || /^[\w.-]+@[\w.-]+:/.test(source);
}

/**
 * The folder to read: a given one, or a shallow clone in a temporary folder. The clone has no hooks, no
 * submodules and no links, and its address cannot become an option.
 *
 * @param source folder, or Git address with an optional `#branch-or-tag`
 * @throws GitError in the remote's words
 */
export async function openSource(source: string): Promise<Source> {
  if (!isGitUrl(source)) return { folder: source, close: async () => undefined };
  const [address = '', ref] = source.split('#');
  const parent = await mkdtemp(join(await realpath(tmpdir()), 'gsv-capabilities-'));
  const close = (): Promise<void> => rm(parent, { recursive: true, force: true });
  const folder = join(parent, 'registry');
  try {
    const program = new GitProgram({ directory: parent, config: [['core.symlinks', 'false']] });
    const named = ref === undefined ? [] : [`--branch=${checkBranch(ref)}`];
    const options = ['--quiet', '--depth=1', '--single-branch', '--no-tags', '--no-recurse-submodules', ...named];
    const outcome = await program.run(['clone', ...options, '--template=', '--end-of-options', address, folder]);
    if (outcome.code !== 0) throw remoteFailure('fetching the registry', outcome);
    return { folder, close };
  } catch (error) {
    await close();
    throw error;
  }
}
