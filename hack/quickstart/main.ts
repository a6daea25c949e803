/**
 * `npm run quickstart`. PostgreSQL takes most of a second to make its data folder, in a process of its
 * own; loading our modules takes as long in this one. So the first is started before the second.
 */
import { createLogger } from '../../config/log.ts';
import { loadSettings } from '../../config/settings.ts';
import { startEmbeddedPostgres } from '../../ledger/embedded.ts';

/** Longer than anything takes that ends by itself once everything is closed. */
const EXIT_GRACE_MS = 1_000;

/** What fails here is said where it is needed: settings, data folder and database are looked at again. */
async function startDatabase() {
  try {
    const { dataDir } = loadSettings(['dataDir']);
    return await startEmbeddedPostgres({ dataDir, log: createLogger({ part: 'quickstart', level: 'silent' }) });
  } catch {
    return undefined;
  }
}

const database = startDatabase();
const { quickstart } = await import('./quickstart.ts');
process.exitCode = await quickstart(process.argv.slice(2), database);
// What an interruption abandoned may still wait for something; everything is closed, so nothing is lost.
setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
