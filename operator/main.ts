import { createLogger } from '../config/log.ts';
import { loadSettings, SettingsError, settingsOf } from '../config/settings.ts';

/**
 * The operator as a process of its own. It needs a Kubernetes API. The adapter for that is
 * `crds/store/kubernetes.ts`; this process does not open it yet, so it says so and exits. The embedded
 * store lives inside the quickstart, which wires the operator in-process with `startOperator`.
 */
function refusal(): string {
  const settings = loadSettings(settingsOf('operator'), [
    'ledgerUrl',
    'ledgerToken',
    'publicUrl',
    'runnerUrl',
    'runnerProbeKey',
    'gitRemote',
    'vaultAddr',
    'artifactsUrl',
  ]);
  return settings.resources === 'embedded'
    ? 'GSV_RESOURCES=embedded is the quickstart’s own: its store lives in one process. Run `npm run quickstart`, or set GSV_RESOURCES=kubernetes.'
    : 'GSV_RESOURCES=kubernetes: the operator is not wired to the Kubernetes adapter yet. Run `npm run quickstart` for the operator with embedded defaults.';
}

const log = createLogger({ part: 'operator' });
try {
  log.fatal(refusal());
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  log.fatal({ problems: error.problems }, error.message);
}
process.exitCode = 1;
