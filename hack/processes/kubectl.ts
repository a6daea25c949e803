import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** kubectl ends sooner, with its own words. Milliseconds. */
const TIMEOUT_MS = 120_000;
/** A list of everything of a test cluster. Bytes. */
const MAX_BUFFER = 16 * 1024 * 1024;

/**
 * kubectl as a person runs it; standard output.
 * @throws Error with kubectl's own words, or one that says that it is not installed
 */
export async function kubectl(kubeconfig: string, ...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', KUBECONFIG: kubeconfig };
  try {
    const { stdout } = await promisify(execFile)('kubectl', args, { env, timeout: TIMEOUT_MS, maxBuffer: MAX_BUFFER });
    return stdout;
  } catch (error) {
    const { code, stderr = '' } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') throw new Error('kubectl is not on the PATH: install it (Debian: kubernetes-client)');
    throw new Error(`kubectl ${args.join(' ')}: ${stderr.trim()}`, { cause: error });
  }
}
