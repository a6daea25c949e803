import { RenderError } from './errors.ts';
import type { ProjectInput } from './input.ts';
import type { RuntimePlatform } from './platform.ts';

/**
 * The runtime of profile Namespace, or undefined under profile Shared, whose Instances run on the platform's own
 * runtime. VCluster and Cluster come with later issues.
 *
 * @throws RenderError `profile_not_offered`
 */
export function offeredRuntime({
  project,
  platform,
}: Pick<ProjectInput, 'platform'> & { project: Pick<ProjectInput['project'], 'spec'> }): RuntimePlatform | undefined {
  const profile = project.spec.runtimeProfile ?? 'Shared';
  if (profile === 'Shared') return undefined;
  if (profile !== 'Namespace') {
    throw new RenderError('profile_not_offered', `the runtime profile ${profile} is not offered yet; use Namespace`);
  }
  if (platform.runtime === undefined) {
    throw new RenderError(
      'profile_not_offered',
      'the runtime profile Namespace is not offered here: GSV_RUNTIME_IMAGE names no image; use Shared',
    );
  }
  if (!IMAGE_BY_DIGEST.test(platform.runtime.image)) {
    throw new RenderError('invalid_value', 'the runtime image is not named by digest');
  }
  return platform.runtime;
}

/** A tag can be moved under a running installation; a digest cannot. */
const IMAGE_BY_DIGEST = /^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$/;
