/**
 * What a change would do, before it is made: in Git, to permissions and network, to entitlements, and to credits.
 * Pure: both states in, the difference out. The renderer of the operator renders both, so what is shown is what
 * will be committed.
 */
import { createTwoFilesPatch } from 'diff';
import { type Contract, type Violation, validateConfig } from '../../crds/contract.ts';
import type { InstanceInput, OrganizationInput, ProjectInput } from '../render/input.ts';
import { renderInstance, renderProject } from '../render/render.ts';
import { type AccessChange, accessChange } from './access.ts';
import { type CreditChange, creditChange, type EntitlementChange, entitlementChange, type Terms } from './terms.ts';

/** One Project and at most one Instance of it, as they are or would be. */
export interface PreviewState {
  project: ProjectInput['project'];
  instance?: Omit<InstanceInput, 'organization' | 'project' | 'platform' | 'contract'> & { contract: Contract };
}

export interface PreviewInput extends OrganizationInput {
  /** Absent: nothing of it is there yet. */
  before?: PreviewState;
  /** Absent: all of it is to go. */
  after?: PreviewState;
}

export interface FileChange {
  path: string;
  action: 'Added' | 'Changed' | 'Removed';
  /** Unified, with three lines around; lines end in `\n`. */
  diff: string;
}

export interface Preview {
  /** Sorted by path. Empty: nothing would be committed. */
  files: FileChange[];
  access: AccessChange;
  entitlements: EntitlementChange;
  credits: CreditChange;
  /** Why the operator would not accept the new state; what is shown then never comes to be. */
  obstacles: Violation[];
}

/** @throws RenderError when either state cannot be rendered, as the operator would */
export function preview(input: PreviewInput): Preview {
  const [before, after] = [render(input, input.before), render(input, input.after)];
  const [old, fresh] = [terms(input.before), terms(input.after)];
  return {
    files: fileChanges(before, after),
    access: accessChange(
      { ...(old ? { contract: old.contract } : {}), files: before },
      { ...(fresh ? { contract: fresh.contract } : {}), files: after },
    ),
    entitlements: entitlementChange(known(old), known(fresh)),
    credits: creditChange(known(old), known(fresh)),
    obstacles: obstacles(input.after, fresh),
  };
}

function render(input: PreviewInput, state: PreviewState | undefined): Map<string, string> {
  if (state === undefined) return new Map();
  const { organization, platform } = input;
  const { project, instance } = state;
  const projects = input.projects.filter(({ metadata }) => metadata.uid !== project.metadata.uid);
  return new Map([
    ...renderProject({ organization, project, projects, platform }),
    ...(instance ? renderInstance({ organization, project, platform, ...instance }) : []),
  ]);
}

function terms(state: PreviewState | undefined): Terms | undefined {
  if (state?.instance === undefined) return undefined;
  const { contract, contractDigest, instance } = state.instance;
  return { contract, contractDigest, plan: instance.spec.plan };
}

/** A plan that the contract does not have gives nobody anything; it is an obstacle, not an error. */
function known(side: Terms | undefined): Terms | undefined {
  return side?.contract.plans.some(({ name }) => name === side.plan) ? side : undefined;
}

function obstacles(state: PreviewState | undefined, side: Terms | undefined): Violation[] {
  if (state?.instance === undefined || side === undefined) return [];
  const { contract, plan } = side;
  const found = validateConfig(contract, state.instance.instance.spec.config ?? {}).map((each) => ({
    ...each,
    pointer: `/spec/config${each.pointer}`,
  }));
  if (known(side) === undefined) {
    const message = `Version ${contract.version} of ${contract.offering} has no plan "${plan}".`;
    found.push({ pointer: '/spec/plan', rule: 'unknown_plan', message });
  }
  if (contract.minimumRuntimeProfile === 'Namespace' && (state.project.spec.runtimeProfile ?? 'Shared') === 'Shared') {
    const message = 'The version needs the runtime profile Namespace, the Project has Shared.';
    found.push({ pointer: '/spec/projectRef', rule: 'runtime_profile_too_low', message });
  }
  return found;
}

function fileChanges(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): FileChange[] {
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  return paths.flatMap((path) => {
    const [old, fresh] = [before.get(path), after.get(path)];
    if (old === fresh) return [];
    const action = old === undefined ? 'Added' : fresh === undefined ? 'Removed' : 'Changed';
    const [from, to] = [old === undefined ? '/dev/null' : `a/${path}`, fresh === undefined ? '/dev/null' : `b/${path}`];
    const diff = createTwoFilesPatch(from, to, old ?? '', fresh ?? '', undefined, undefined, { context: 3 });
    // The library starts with a ruler that only its own tools read.
    return [{ path, action, diff: diff.replace(/^=+\n/, '') }];
  });
}
