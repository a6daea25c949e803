import { mkdir } from 'node:fs/promises';
import { createLogger } from '../../config/log.ts';
import { loadSettings, SettingsError } from '../../config/settings.ts';
import type { Instance } from '../../crds/kinds.ts';
import type { EmbeddedPostgres } from '../../ledger/embedded.ts';
import { type Arguments, readArguments, USAGE, UsageError } from './arguments.ts';
import { type Flow, flowVersion, loadCatalog, readFlow } from './catalog.ts';
import { type Delivery, recordedDelivery, sampleDelivery } from './delivery.ts';
import { type FirstRun, firstRun } from './first-run.ts';
import { awaitCredits, awaitReady, postOrder } from './order.ts';
import { PhaseError, Stopwatch } from './phases.ts';
import { printFailure, printPhase, printResult, printWelcome } from './report.ts';
import { BUYER, type Stack, type StackOptions, startStack } from './stack.ts';

/** What the order came to. An order of packs alone has neither Instance nor run. */
export interface Result {
  instance: Instance | undefined;
  run: FirstRun | undefined;
  balanceMicrocredits: number;
}

/**
 * The whole store on one machine, from a signed order to a priced receipt. Standard output carries the
 * phases and, with `--once`, one JSON object as its last line; standard error carries the log.
 *
 * @param database a PostgreSQL that is starting already; undefined when that failed, to be tried again
 * @returns the exit code
 */
export async function quickstart(
  argv: readonly string[],
  database: Promise<EmbeddedPostgres | undefined>,
): Promise<number> {
  const watch = new Stopwatch(printPhase);
  const stop = stopSignal();
  let stack: Stack | undefined;
  try {
    const options = readArguments(argv);
    const settings = loadSettings(SETTINGS);
    const flow = options.flow === undefined ? undefined : await readFlow(options.flow);
    await openDataFolder(settings.dataDir);
    const delivery = await deliveryOf(options, settings.dataDir, flow);
    stack = await startStack({
      ...stackOptions(options, settings),
      database,
      shop: delivery.shop,
      shopKeys: delivery.keys,
    });
    const result = await Promise.race([
      interrupted(stop),
      orderToReceipt(stack, delivery, settings.dataDir, flow, watch),
    ]);
    printResult(result, watch, options.once);
    if (options.once) return 0;
    await printWelcome(stack, result);
    await stop;
    process.stdout.write('stopping …\n');
    return 0;
  } catch (error) {
    return fail(error, argv, watch);
  } finally {
    await stack?.close().catch((error: Error) => process.stderr.write(`stopping failed: ${error.message}\n`));
    await (await database)?.stop();
  }
}

/** Ctrl-C before the receipt: whatever is going on is left to the stack's end. */
async function interrupted(stop: Promise<void>): Promise<never> {
  await stop;
  throw new PhaseError('start', 'interrupted', 'stopped before the receipt; the next start goes on with the same data');
}

async function orderToReceipt(
  stack: Stack,
  delivery: Delivery,
  dataDir: string,
  flow: Flow | undefined,
  watch: Stopwatch,
): Promise<Result> {
  await loadCatalog({ ...stack, dataDir, ...(flow ? { flow } : {}) });
  return follow(stack, delivery, flow, watch);
}

/** From the signed order to the receipt; each step ends a phase. @throws PhaseError */
async function follow(stack: Stack, delivery: Delivery, flow: Flow | undefined, watch: Stopwatch): Promise<Result> {
  const { store, ledger, gatewayUrl } = stack;
  watch.start();
  const posted = await postOrder(delivery, gatewayUrl, watch);
  const instances = await awaitCredits(posted, delivery.shop, store, ledger, watch);
  if (instances.length === 0) {
    const { available } = await ledger.getWallet(`${posted.order.tenant}.main`);
    return { instance: undefined, run: undefined, balanceMicrocredits: available };
  }
  const instance = await awaitReady(instances, store, watch);
  if (flow && instance.status?.version !== flowVersion(flow)) {
    const detail = `the order was delivered before and its Instance keeps version ${instance.status?.version}, so --flow has no part in it; start with another GSV_DATA_DIR`;
    throw new PhaseError('run', 'flow_not_used', detail);
  }
  const run = await firstRun(instance, gatewayUrl, await stack.issuer.mint(BUYER), ledger, watch);
  return { instance, run, balanceMicrocredits: run.balanceMicrocredits };
}

async function openDataFolder(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true }).catch((cause: Error) => {
    const detail = `the data folder ${dataDir} cannot be made (${cause.message}); set GSV_DATA_DIR to a folder that can`;
    throw new PhaseError('start', 'data_folder', detail, { cause });
  });
}

function deliveryOf({ order, jwks }: Arguments, dataDir: string, flow: Flow | undefined): Promise<Delivery> {
  return order !== undefined && jwks !== undefined
    ? recordedDelivery(order, jwks)
    : sampleDelivery(dataDir, new Date(), flow?.sha256);
}

const SETTINGS = [
  'dataDir',
  'logLevel',
  'gatewayPort',
  'ledgerPort',
  'runnerPort',
  'runtimeUrl',
  'runtimeKey',
] as const;
type QuickstartSettings = ReturnType<typeof loadSettings<(typeof SETTINGS)[number]>>;

function stackOptions(
  options: Arguments,
  settings: QuickstartSettings,
): Omit<StackOptions, 'shop' | 'shopKeys' | 'database'> {
  // A log line for each request would drown the phases, so the default level is warn here.
  const level = settings.logLevel === 'info' ? 'warn' : settings.logLevel;
  const runtime = options.runtime ?? runtimeOf(settings);
  return {
    dataDir: settings.dataDir,
    ports: { gateway: settings.gatewayPort, ledger: settings.ledgerPort, runner: settings.runnerPort },
    log: createLogger({ part: 'quickstart', level }),
    ...(runtime ? { runtime } : {}),
  };
}

function runtimeOf({ runtimeUrl: url, runtimeKey: key }: QuickstartSettings): StackOptions['runtime'] {
  if ((url === undefined) !== (key === undefined))
    throw new SettingsError(['GSV_RUNTIME_URL and GSV_RUNTIME_KEY go together']);
  return url !== undefined && key !== undefined ? { url, key: key.reveal() } : undefined;
}

function fail(error: unknown, argv: readonly string[], watch: Stopwatch): number {
  watch.stop();
  const failure = toFailure(error);
  printFailure(failure, watch, argv.includes('--once'));
  if (error instanceof UsageError) process.stderr.write(USAGE);
  return 1;
}

function toFailure(error: unknown): PhaseError {
  if (error instanceof PhaseError) return error;
  if (error instanceof UsageError) return new PhaseError('start', 'usage', error.message);
  if (error instanceof SettingsError) return new PhaseError('start', 'settings_invalid', error.message);
  const message = error instanceof Error ? error.message : String(error);
  return new PhaseError('start', 'start_failed', message, { cause: error });
}

/** Ctrl-C, or a supervisor's SIGTERM. A second signal ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}
