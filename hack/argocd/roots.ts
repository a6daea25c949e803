import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

const COMPONENT = join(import.meta.dirname, '../../kustomize/components/argocd');
/** What an overlay replaces. */
const PLACEHOLDER = 'https://git.example.com/gsv/delivery.git';

/**
 * The root project and Applications of `kustomize/components/argocd` for a repository, as an overlay makes
 * them; one JSON document each.
 *
 * @param only names of the Applications that are wanted; absent: all sixteen
 */
export async function rootApplications(repository: string, only?: readonly string[]): Promise<string[]> {
  const files = await Promise.all(
    ['project.yaml', 'roots.yaml'].map((file) => readFile(join(COMPONENT, file), 'utf8')),
  );
  return parseAllDocuments(files.join('\n---\n'))
    .map((document) => document.toJS() as { kind: string; metadata: { name: string } })
    .filter(({ kind, metadata: { name } }) => kind === 'AppProject' || only === undefined || only.includes(name))
    .map((object) => JSON.stringify(object).replaceAll(PLACEHOLDER, repository));
}
