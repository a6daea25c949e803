import type { Registry } from 'prom-client';
import { createLogger, type Logger } from './log.ts';
import { createRegistry, type ReadyCheck, startOps } from './ops.ts';
import { SettingsError } from './settings.ts';

/** What runs in a process once it has started. */
export interface Service {
  /** What still keeps it from serving; for `/readyz` of the ops port. */
  ready: ReadyCheck;
  /** More to say at `/readyz`. */
  about?: () => Record<string, string>;
  /** Resolves with a sentence when it cannot go on by itself; absent: it goes on until a signal comes. */
  ended?: Promise<string>;
  /** Takes no new work, ends what is going on, releases everything. */
  close(): Promise<void>;
}

/** What every process gets from its frame. */
export interface Frame {
  log: Logger;
  registry: Registry;
  /** Aborted when the process is told to stop, also while it still starts. */
  stopping: AbortSignal;
}

export interface ProcessOptions<S> {
  /** Name of the process in every log line and metric. */
  part: string;
  /** @throws SettingsError with every problem at once */
  settings: () => S;
  start: (settings: S, frame: Frame) => Promise<Service>;
  /** A drain that takes longer is cut, so that a stuck request cannot keep the process. Milliseconds. */
  drainMs: number;
  /** Absent: the environment's signals. */
  signal?: Promise<string>;
}

interface FrameSettings {
  logLevel: string;
  opsPort: number;
  opsHost: string;
}

/**
 * Runs one process from its settings to its end and returns the exit code: 0 after a signal, 1 when
 * the settings are wrong, the start fails, or the service ends by itself. The ops port answers from
 * the first moment, so that a process which waits for its API server is alive and says why it is not ready.
 */
export async function runProcess<S extends FrameSettings>(options: ProcessOptions<S>): Promise<number> {
  let settings: S;
  try {
    settings = options.settings();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    createLogger({ part: options.part }).fatal({ problems: error.problems }, error.message);
    return 1;
  }
  const log = createLogger({ part: options.part, level: settings.logLevel });
  const stopping = new AbortController();
  const stop = (options.signal ?? stopSignal()).then((name) => {
    log.info({ signal: name }, `the ${options.part} stops`);
    stopping.abort();
    return undefined;
  });
  const frame = { log, registry: createRegistry(options.part), stopping: stopping.signal };
  try {
    return await serve(options, settings, frame, stop);
  } catch (error) {
    log.fatal({ err: error }, `the ${options.part} cannot start`);
    return 1;
  }
}

async function serve<S extends FrameSettings>(
  options: ProcessOptions<S>,
  settings: S,
  frame: Frame,
  stop: Promise<undefined>,
): Promise<number> {
  const { log, registry } = frame;
  let service: Service | undefined;
  const ready: ReadyCheck = async () =>
    frame.stopping.aborted ? ['the process is stopping'] : ((await service?.ready()) ?? ['the process is starting']);
  const about = (): Record<string, string> => service?.about?.() ?? {};
  const ops = await startOps({ port: settings.opsPort, host: settings.opsHost, log, ready, about, registry });
  try {
    const starting = options.start(settings, frame);
    service = await Promise.race([starting, stop]);
    // Told to stop while it starts: what has come up by then is closed, what has not goes with the process.
    if (service === undefined) {
      starting.then((late) => late.close()).catch(() => undefined);
      return 0;
    }
    // After the service's own line: the first line of a process names the address that it serves at.
    if (ops.url !== undefined) log.info({ url: ops.url }, 'ops server listens');
    const why = await Promise.race([stop, service.ended ?? new Promise<never>(() => undefined)]);
    if (why !== undefined) log.fatal(why);
    await within(options.drainMs, service.close(), () => log.error('the drain takes too long; stopping now'));
    return why === undefined ? 0 : 1;
  } finally {
    await ops.close();
  }
}

async function within(ms: number, work: Promise<void>, late: () => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    late();
    resolve();
  }, ms);
  try {
    await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** SIGTERM of a kubelet, Ctrl-C of a person. A second signal ends the process at once. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
}
