import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The epoch of each commit of `main`, the oldest first; commits without one are left out. */
export async function epochsOf(repository: string): Promise<number[]> {
  const format = '--format=%(trailers:key=Gsv-Epoch,valueonly)';
  const { stdout } = await run('git', ['-C', repository, 'log', '--reverse', format, 'main']);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}
