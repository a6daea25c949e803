import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { OWN_KINDS } from '../../crds/definitions.ts';
import { GROUP } from '../../crds/kinds.ts';

const ROOT = join(import.meta.dirname, '../..');
const FOLDER = 'kustomize/components/argocd-health';
const HEADER = '# Generated from health.lua by `npm run generate`; edit that file.\n';

/** The one script, as it stands. */
function script(): string {
  return readFileSync(join(ROOT, FOLDER, 'health.lua'), 'utf8');
}

/** Where Argo CD looks for the check of a kind, from the root of the repository. */
function customization(kind: string): string {
  return `${FOLDER}/resource_customizations/${GROUP}/${kind}`;
}

/** Argo CD's own layout: a folder for each kind. The tests beside them are written by hand. */
export function healthFiles(): { file: string; produce: () => string }[] {
  return [
    ...OWN_KINDS.map((kind) => ({ file: `${customization(kind)}/health.lua`, produce: script })),
    { file: `${FOLDER}/argocd-cm.yaml`, produce: settings },
  ];
}

/** The entries of `argocd-cm` that carry the checks. */
function settings(): string {
  const data = Object.fromEntries(
    [...OWN_KINDS].sort().map((kind) => [`resource.customizations.health.${GROUP}_${kind}`, script()]),
  );
  const metadata = { name: 'argocd-cm', namespace: 'argocd' };
  return (
    HEADER +
    stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data }, { lineWidth: 0, aliasDuplicateObjects: false })
  );
}
