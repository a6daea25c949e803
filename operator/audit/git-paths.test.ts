import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitError } from '../git/errors.ts';
import { branchPaths } from './git-paths.ts';

const work = mkdtempSync(join(tmpdir(), 'gsv-audit-paths-'));
after(() => rmSync(work, { recursive: true }));

test('the paths of a branch, without a trace of the copy; a refusal is the remote’s', async () => {
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], { cwd: work });
  git('init', '-q', '-b', 'main');
  mkdirSync(join(work, 'tenants/ä b'), { recursive: true });
  for (const file of ['tenants/ä b/x.yaml', 'readme']) writeFileSync(join(work, file), file);
  git('add', '.');
  git('commit', '-qm', 'one');
  assert.equal(await branchPaths(`file://${work}`, 'main'), ['readme', 'tenants/ä b/x.yaml']);
  for (const branch of ['absent', '--upload-pack=x'])
    assert.instance(await branchPaths(`file://${work}`, branch).catch((error: unknown) => error), GitError, branch);
});
