import { createLogger } from '../config/log.ts';
import { loadSettings, SettingsError } from '../config/settings.ts';

/**
 * The edge as a process of its own. It needs the resource store, and the only adapter that several
 * processes can share is the one to Kubernetes; it comes with its own issue. Until then this says so
 * instead of starting something that cannot serve. The quickstart builds the edge with `createGateway`.
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
  return loadSettings(
    ['resources', 'logLevel', 'ledgerUrl', 'ledgerToken', 'runnerUrl', 'ticketKey', 'oidcIssuer', 'oidcAudience'],
    ['ledgerUrl', 'ledgerToken', 'runnerUrl', 'ticketKey', 'oidcIssuer'],
  );
}

function sentence(resources: 'kubernetes' | 'embedded'): string {
  return resources === 'embedded'
    ? 'GSV_RESOURCES=embedded is the quickstart’s own: several processes cannot share it; run npm run quickstart'
    : 'GSV_RESOURCES=kubernetes: the adapter to Kubernetes is not part of this version; run npm run quickstart';
}

process.exitCode = main();
