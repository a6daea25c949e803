import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GitAccess } from '../git/access.ts';
import { GitProgram } from '../git/program.ts';
import { checkBranch } from '../git/remote.ts';
import { remoteFailure } from '../git/words.ts';

/**
 * Paths of all files on a branch, from a shallow copy without the files' bytes where the remote can do that.
 * The writer's own repository is left alone: it may be busy, or on another machine.
 *
 * @throws GitError in the remote's words
 */
export async function branchPaths(remote: string, branch: string, access: GitAccess = {}): Promise<string[]> {
  const parent = await mkdtemp(join(await realpath(tmpdir()), 'gsv-audit-'));
  const folder = join(parent, 'branch.git');
  const program = new GitProgram({ directory: parent, access });
  const options = [
    '--quiet',
    '--bare',
    '--depth=1',
    '--single-branch',
    '--no-tags',
    '--filter=blob:none',
    '--template=',
  ];
  try {
    const clone = ['clone', ...options, `--branch=${checkBranch(branch)}`, '--end-of-options', remote, folder];
    const outcome = await program.run(clone);
    if (outcome.code !== 0) throw remoteFailure('reading the branch', outcome);
    const names = await program.output([`--git-dir=${folder}`, 'ls-tree', '-r', '-z', '--name-only', 'HEAD']);
    return names.split('\0').filter(Boolean);
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}
