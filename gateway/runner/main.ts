import { createLogger } from '../../config/log.ts';
import { loadSettings, SettingsError, settingsOf } from '../../config/settings.ts';

/**
 * The runner as its own process. It needs a resource store that other processes share. The adapter for
 * that is `crds/store/kubernetes.ts`; this process does not open it yet, so it says so and exits.
 * `npm run quickstart` runs the same runner inside itself.
 */
function main(): number {
  const log = createLogger({ part: 'runner' });
  try {
    const settings = loadSettings(settingsOf('runner'), [
      'ledgerUrl',
      'ledgerToken',
      'ticketKey',
      'runnerProbeKey',
      'runtimeUrl',
      'artifactsUrl',
    ]);
    log.fatal(
      settings.resources === 'embedded'
        ? 'GSV_RESOURCES=embedded is the quickstart’s own: no other process can share it; use npm run quickstart'
        : 'GSV_RESOURCES=kubernetes: the runner is not wired to the Kubernetes adapter yet; use npm run quickstart',
    );
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    log.fatal({ problems: error.problems }, 'the settings are not valid');
  }
  return 1;
}

process.exitCode = main();
