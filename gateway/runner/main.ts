import { createLogger } from '../../config/log.ts';
import { loadSettings, SettingsError } from '../../config/settings.ts';

/**
 * The runner as its own process. It needs a resource store that other processes share, and the adapter
 * for Kubernetes is not part of this version; `npm run quickstart` runs the same runner inside itself.
 */
function main(): number {
  const log = createLogger({ part: 'runner' });
  try {
    const settings = loadSettings(
      [
        'resources',
        'runnerPort',
        'ledgerUrl',
        'ledgerToken',
        'ticketKey',
        'runnerProbeKey',
        'runtimeUrl',
        'artifactsUrl',
      ],
      ['ledgerUrl', 'ledgerToken', 'ticketKey', 'runnerProbeKey', 'runtimeUrl', 'artifactsUrl'],
    );
    log.fatal(
      settings.resources === 'embedded'
        ? 'GSV_RESOURCES=embedded is the quickstart’s own: no other process can share it; use npm run quickstart'
        : 'GSV_RESOURCES=kubernetes is not offered by this version yet; use npm run quickstart',
    );
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    log.fatal({ problems: error.problems }, 'the settings are not valid');
  }
  return 1;
}

process.exitCode = main();
