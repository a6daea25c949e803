import { createLogger } from '../config/log.ts';
import { loadSettings, SettingsError, settingsOf } from '../config/settings.ts';

/**
 * The edge as a process of its own. It needs a resource store that other processes share. The adapter
 * for that is `crds/store/kubernetes.ts`; this process does not open it yet, so it says so instead of
 * starting something that cannot serve. The quickstart builds the edge with `createGateway`.
 */
function main(): number {
  try {
    const { resources, logLevel } = settings();
    const log = createLogger({ part: 'gateway', level: logLevel });
    log.fatal({ code: 'resources_unavailable' }, sentence(resources));
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
  }
  return 1;
}

function settings() {
  return loadSettings(settingsOf('gateway'), ['ledgerUrl', 'ledgerToken', 'runnerUrl', 'ticketKey', 'oidcIssuer']);
}

function sentence(resources: 'kubernetes' | 'embedded'): string {
  return resources === 'embedded'
    ? 'GSV_RESOURCES=embedded is the quickstart’s own: several processes cannot share it; run npm run quickstart'
    : 'GSV_RESOURCES=kubernetes: the gateway is not wired to the Kubernetes adapter yet; run npm run quickstart';
}

process.exitCode = main();
