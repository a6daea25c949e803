/**
 * `npm run preview -- -f FILE [--catalog DIR | --kubeconfig FILE] [--instance NAME] [--json]`
 *
 * Says what applying an Instance or a Project would do, and changes nothing.
 */
import { parseArgs } from 'node:util';
import { loadSettings } from '../../config/settings.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { StoreError } from '../../crds/store.ts';
import { PLATFORM_SETTINGS, platformOf } from '../platform.ts';
import { preview } from '../preview/preview.ts';
import { previewText } from '../preview/text.ts';
import { RenderError } from '../render/errors.ts';
import type { Platform } from '../render/platform.ts';
import { changeTo, type Present, PreviewError, presentInCluster, presentInFolder, readWanted } from './present.ts';

const USAGE = `usage: npm run preview -- -f FILE [--catalog DIR | --kubeconfig FILE] [--instance NAME] [--json]

  -f, --file    YAML with the Instance, the Project, or both, as they would be applied
  --catalog     folder of custom resources: the present state (absent: the cluster)
  --kubeconfig  of the cluster (absent: KUBECONFIG, or the one this runs in)
  --instance    with a Project alone: the Instance of it to look at as well
  --json        the whole result as JSON

It reads the operator's settings GSV_GIT_REMOTE, GSV_VAULT_ADDR, GSV_RUNTIME_IMAGE and their like; absent ones
are examples. It exits with 1 when the operator would not accept the change.
`;

/** Stand in the manifests when no setting says better: they are the same on both sides, so no difference shows them. */
const EXAMPLES = { gitRemote: 'https://git.example.com/gsv/delivery.git', vaultAddr: 'https://vault.example.com:8200' };

class UsageError extends Error {}

async function main(): Promise<number> {
  const { file, catalog, kubeconfig, instance, json } = parseArguments();
  if (file === undefined || (catalog !== undefined && kubeconfig !== undefined)) throw new UsageError(USAGE);
  const wanted = await readWanted(file);
  const present = catalog === undefined ? await cluster(kubeconfig) : await presentInFolder(catalog);
  const result = preview(changeTo(wanted, present, platform(), instance));
  process.stdout.write(json ? `${JSON.stringify(result, undefined, 2)}\n` : previewText(result));
  return result.obstacles.length === 0 ? 0 : 1;
}

function parseArguments() {
  const text = { type: 'string' } as const;
  try {
    const { values } = parseArgs({
      options: {
        file: { ...text, short: 'f' },
        ...{ catalog: text, kubeconfig: text, instance: text },
        json: { type: 'boolean' },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
}

async function cluster(kubeConfig: string | undefined): Promise<Present> {
  const store = await KubernetesStore.open(kubeConfig === undefined ? {} : { kubeConfig });
  try {
    return await presentInCluster(store);
  } finally {
    await store.close();
  }
}

function platform(): Platform {
  const read = loadSettings(PLATFORM_SETTINGS);
  const { gitRemote = EXAMPLES.gitRemote, vaultAddr = EXAMPLES.vaultAddr } = read;
  return platformOf({ ...read, gitRemote, vaultAddr });
}

try {
  process.exitCode = await main();
} catch (error) {
  const known = [UsageError, PreviewError, RenderError, StoreError].some((kind) => error instanceof kind);
  process.stderr.write(
    `${known ? (error as Error).message.trimEnd() : `preview failed: ${(error as Error).message}`}\n`,
  );
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
