import { isDeepStrictEqual } from 'node:util';
import { createTwoFilesPatch } from 'diff';
import { stringify } from 'yaml';
import { checkCapability } from '../../crds/contract/check.ts';
import { inlineCapability } from '../../crds/contract/normalize.ts';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import type { Capability, NewMeta } from '../../crds/kinds.ts';
import { validateObject } from '../../crds/validate.ts';
import type { CapabilityDocument, Problem, Registry } from './folder.ts';

/** Lines around a change. */
const DIFF_CONTEXT = 3;

export interface PlannedCapability {
  file: string;
  /** What contracts carry of it. */
  digest: string;
  metadata: NewMeta;
  spec: CapabilitySpec;
  /** Present version; absent = it is new. */
  from?: string;
  action: 'create' | 'update' | 'unchanged';
}

export interface Plan {
  capabilities: PlannedCapability[];
  problems: Problem[];
  others: number;
}

/**
 * Everything is checked before anything is written: schema and rules of the CRD, the meaning of the parts
 * together, names that stand twice, and that a change comes with a new version.
 *
 * @param present the Capabilities of the cluster
 */
export function planCapabilities(registry: Registry, present: readonly Capability[]): Plan {
  const before = new Map(present.map((each) => [each.metadata.name, each]));
  const seen = new Map<string, string>();
  const plan: Plan = { capabilities: [], problems: [...registry.problems], others: registry.others };
  for (const document of registry.documents) {
    const problems = problemsOf(document);
    if (problems.length > 0) {
      plan.problems.push(...problems);
      continue;
    }
    const { metadata, spec } = document.object as unknown as Capability;
    const first = seen.get(metadata.name);
    seen.set(metadata.name, first ?? document.file);
    if (first !== undefined) {
      const message = `Capability ${metadata.name} stands in ${first} as well; keep one of them`;
      plan.problems.push({ file: document.file, field: 'metadata.name', rule: 'duplicate_name', message });
      continue;
    }
    const old = before.get(metadata.name);
    const changed = old === undefined ? undefined : changeWithoutVersion(document.file, spec, old);
    if (changed) plan.problems.push(changed);
    else plan.capabilities.push(planned(document.file, metadata, spec, old));
  }
  return plan;
}

function problemsOf({ file, object }: CapabilityDocument): Problem[] {
  // What a cluster adds is no fault of a file that came from `kubectl get -o yaml`.
  const { status: _, ...desired } = object;
  const shape = validateObject('Capability', desired);
  if (shape.length > 0) return shape.map(({ field, message }) => ({ file, field, rule: 'schema', message }));
  const { metadata, spec } = desired as unknown as Capability;
  const { digest, spec: normal } = inlineCapability(spec);
  return checkCapability({ name: metadata.name, pointer: '', spec, normal, digest }).map(
    ({ pointer, rule, message }) => ({ file, field: pointer, rule, message }),
  );
}

function planned(
  file: string,
  { name, labels, annotations }: Capability['metadata'],
  spec: CapabilitySpec,
  old: Capability | undefined,
): PlannedCapability {
  const { digest } = inlineCapability(spec);
  const metadata: NewMeta = { name, ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) };
  const made = { file, metadata, digest, spec };
  if (old === undefined) return { ...made, action: 'create' };
  const same =
    isDeepStrictEqual(old.spec, spec) && has(old.metadata.labels, labels) && has(old.metadata.annotations, annotations);
  return { ...made, from: old.spec.version, action: same ? 'unchanged' : 'update' };
}

/** Other writers' labels stay, so more than ours may be there. */
function has(present: Record<string, string> = {}, wanted: Record<string, string> = {}): boolean {
  return Object.entries(wanted).every(([key, value]) => present[key] === value);
}

function changeWithoutVersion(file: string, spec: CapabilitySpec, old: Capability): Problem | undefined {
  const { version } = spec;
  if (version !== old.spec.version || isDeepStrictEqual(old.spec, spec)) return undefined;
  const text = (each: CapabilitySpec): string => stringify(each, { sortMapEntries: true, lineWidth: 0 });
  const patch = createTwoFilesPatch('cluster', file, text(old.spec), text(spec), undefined, undefined, {
    context: DIFF_CONTEXT,
  });
  // Without the line of equal signs that only `diff` itself writes.
  const diff = patch.slice(patch.indexOf('--- ')).trimEnd();
  const message = `contracts are compiled from ${version} as it stands in the cluster; write a new version with the change:\n${diff}`;
  return { file, field: 'spec.version', rule: 'change_needs_new_version', message };
}
