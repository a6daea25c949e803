import { Registry } from 'prom-client';
import type { Logger } from '../config/log.ts';
import { OWN_KINDS } from '../crds/definitions.ts';
import type { Kind } from '../crds/kinds.ts';
import { keyText, parseKey, type ResourceCache, type ResourceStore } from '../crds/store.ts';
import type { LedgerEvent } from '../ledger/client.ts';
import { apiKeyController } from './controllers/api-key.ts';
import { capabilityController } from './controllers/capability.ts';
import { creditPackController } from './controllers/credit-pack.ts';
import type { ControllerContext, Definition } from './controllers/definition.ts';
import { instanceController } from './controllers/instance.ts';
import { LedgerFeed } from './controllers/ledger-feed.ts';
import { offeringController } from './controllers/offering.ts';
import { offeringVersionController } from './controllers/offering-version.ts';
import { organizationController } from './controllers/organization.ts';
import { projectController } from './controllers/project.ts';
import { teamController } from './controllers/team.ts';
import { walletController } from './controllers/wallet.ts';
import { fenced, lookAgain, takeOver } from './fencing.ts';
import type { Ports } from './ports.ts';
import type { Platform } from './render/platform.ts';
import { type Clock, systemClock } from './runtime/clock.ts';
import { Controller } from './runtime/controller.ts';
import { EventsReader } from './runtime/events-reader.ts';
import { Readiness } from './runtime/health.ts';
import type { Leader } from './runtime/leader.ts';
import { controllerMetrics, leaderMetrics } from './runtime/metrics.ts';
import { EventRecorder } from './runtime/recorder.ts';
import { isUnsettled } from './runtime/source.ts';
import { Turns } from './runtime/turns.ts';

/** Something that runs beside the controllers until it is closed, e.g. the orders worker. */
export interface Worker {
  start(): { close(): Promise<void> | void };
}

export interface OperatorOptions extends Omit<Ports, 'clock' | 'platform' | 'publicUrl'> {
  settings: { publicUrl: string; platform: Platform };
  log: Logger;
  clock?: Clock;
  /** Uniform in [0, 1): jitter of retries and resyncs. */
  random?: () => number;
  /** Started after the controllers. With a leader they must write through doors that are {@link fenced}, too. */
  workers?: readonly Worker[];
  registry?: Registry;
  /** Absent: nobody else runs, as in the quickstart. Started and released by the operator. */
  leader?: Leader;
  /** Name of this process in Kubernetes Events; absent: none are written. */
  eventsFrom?: string;
}

export interface Operator {
  /** Resolves once all watches are synced and the controllers run; with a leader: once this process leads. */
  readonly ready: Promise<void>;
  /** Resolves with a sentence when this process leads no more; it should exit then. */
  readonly ended: Promise<string>;
  /** What still keeps it from being ready; for the ops server. A standby that could take over is ready. */
  readonly reasons: () => Promise<readonly string[]>;
  /** True when no key waits for a visit or is being visited; delayed visits do not count. */
  idle(): boolean;
  /** Takes no new work, resolves when the running visits have ended, then gives the Lease back. */
  close(): Promise<void>;
}

/** Wires controllers, watches, the ledger's feed and workers, and starts them. In-process: no port, no signal handler. */
export function startOperator(options: OperatorOptions): Operator {
  const {
    settings,
    workers = [],
    registry = new Registry(),
    clock = systemClock,
    random = Math.random,
    leader,
    eventsFrom,
    ...given
  } = options;
  const doors = leader === undefined ? given : fenced(given, leader);
  const ports: Ports = { ...doors, ...settings, clock };
  const recorder =
    eventsFrom === undefined ? undefined : new EventRecorder({ ...ports, instance: eventsFrom, registry });
  const metrics = { ...controllerMetrics(registry), ...(recorder && { statusWritten: recorder.statusWritten }) };
  const context: ControllerContext = { ports, metrics };
  const feed = new LedgerFeed();
  const controllers = definitions(context, feed).map((definition) => build(definition, context, random));
  const events = new EventsReader<LedgerEvent>({
    read: (query) => ports.ledger.events(query),
    handle: (event) => feed.handle(event),
    clock,
    random,
    log: ports.log,
  });
  const readiness = new Readiness();
  if (leader !== undefined) leaderMetrics(registry, leader);
  const watched = caches(ports.store);
  const synced = Promise.all(watched.map((cache) => cache.synced));
  readiness.until('the watches are not synced yet', synced);
  const running = start({
    // Before the watches are synced a process is no good successor: it does not stand for election.
    term: synced.then(() => leader?.start() && term(leader, { ...given, clock }, watched, readiness)),
    controllers,
    events,
    workers,
  });
  leader?.signal.addEventListener('abort', () => void running.close());
  return {
    ready: running.started,
    ended: new Promise((resolve) => {
      leader?.signal.addEventListener('abort', () => resolve((leader.signal.reason as Error).message));
    }),
    reasons: () => readiness.reasons(),
    idle: () => controllers.every(({ controller: { queue } }) => queue.depth === 0 && queue.inFlight === 0),
    close: async () => {
      await running.close();
      await recorder?.close();
      await leader?.release();
    },
  };
}

/** Resolves when this process leads, everybody who refuses a lower epoch knows so, and it has seen what was before. */
async function term(
  leader: Leader,
  given: Pick<Ports, 'git' | 'ledger' | 'clock' | 'log'>,
  watched: readonly ResourceCache<Kind>[],
  readiness: Readiness,
): Promise<void> {
  await leader.elected;
  const taken = takeOver({ ...given, leader });
  readiness.until('the Lease is ours; Git and the ledger do not know of it yet', taken);
  await taken;
  const seen = lookAgain(watched, leader);
  readiness.until('the Lease is ours; what is there is being listed again', seen);
  await seen;
}

function definitions(context: ControllerContext, feed: LedgerFeed): Definition[] {
  const turns = new Turns();
  return [
    organizationController(context, turns),
    projectController(context, turns),
    teamController(context),
    walletController(context, feed),
    apiKeyController(context),
    capabilityController(context),
    offeringController(context),
    offeringVersionController(context),
    creditPackController(context),
    instanceController(context, feed),
  ];
}

interface Built {
  controller: Controller;
  watch: () => (() => void)[];
}

function build(definition: Definition, { ports, metrics }: ControllerContext, random: () => number): Built {
  const { kind, concurrency, reconcile } = definition;
  const { store, clock, log } = ports;
  const cache = store.watch(kind);
  const controller: Controller = new Controller({
    name: kind.toLowerCase(),
    reconcile,
    concurrency,
    clock,
    random,
    log,
    metrics,
    relist: () => {
      for (const { metadata } of cache.list()) controller.queue.add(keyText(metadata));
    },
    // A paid order does not wait behind a fleet that a changed OfferingVersion or a new leader looks at again.
    urgent: (key) => {
      const object = cache.get(parseKey(key));
      return object !== undefined && isUnsettled(object);
    },
  });
  return { controller, watch: () => definition.watch((key) => controller.queue.add(key)) };
}

/** Those of others are watched by who needs them: a CRD that is not installed must not stop us. */
function caches(store: ResourceStore): ResourceCache<Kind>[] {
  return [...OWN_KINDS, 'Namespace' as const].map((kind) => store.watch<Kind>(kind));
}

interface Parts {
  /** Resolves when controllers may run. */
  term: Promise<unknown>;
  controllers: readonly Built[];
  events: EventsReader<LedgerEvent>;
  workers: readonly Worker[];
}

/** Watches are synced before the first visit: a step that finds nothing must mean that there is nothing. */
function start({ term, controllers, events, workers }: Parts) {
  const subscriptions: (() => void)[] = [];
  const working: ReturnType<Worker['start']>[] = [];
  let closed: Promise<void> | undefined;
  const started = (async () => {
    await term;
    if (closed) return;
    for (const { controller, watch } of controllers) {
      subscriptions.push(...watch());
      controller.start();
    }
    events.start();
    working.push(...workers.map((worker) => worker.start()));
  })();
  // Whoever waits for it hears of it; a standby that is closed has nobody who does.
  started.catch(() => {});
  const close = async (): Promise<void> => {
    await Promise.all(working.map((worker) => worker.close()));
    for (const end of subscriptions) end();
    await Promise.all([events.stop(), ...controllers.map(({ controller }) => controller.stop())]);
  };
  return {
    started,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}
