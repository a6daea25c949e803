import { Registry } from 'prom-client';
import type { Logger } from '../config/log.ts';
import { OWN_KINDS } from '../crds/definitions.ts';
import { keyText, type ResourceStore } from '../crds/store.ts';
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
import type { Ports } from './ports.ts';
import type { Platform } from './render/platform.ts';
import { type Clock, systemClock } from './runtime/clock.ts';
import { Controller } from './runtime/controller.ts';
import { EventsReader } from './runtime/events-reader.ts';
import { Readiness } from './runtime/health.ts';
import { controllerMetrics } from './runtime/metrics.ts';
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
  workers?: readonly Worker[];
  registry?: Registry;
}

export interface Operator {
  /** Resolves once all watches are synced and the controllers run. */
  readonly ready: Promise<void>;
  /** What still keeps it from being ready; for the ops server. */
  readonly reasons: () => Promise<readonly string[]>;
  /** True when no key waits for a visit or is being visited; delayed visits do not count. */
  idle(): boolean;
  /** Takes no new work and resolves when the running visits have ended. */
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
    ...doors
  } = options;
  const ports: Ports = { ...doors, ...settings, clock };
  const context: ControllerContext = { ports, metrics: controllerMetrics(registry) };
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
  const running = start(controllers, ports.store, events);
  const ready = running.started;
  readiness.until('the watches are not synced yet', ready);
  const started = workers.map((worker) => worker.start());
  return {
    ready,
    reasons: () => readiness.reasons(),
    idle: () => controllers.every(({ controller: { queue } }) => queue.depth === 0 && queue.inFlight === 0),
    close: async () => {
      await Promise.all(started.map((worker) => worker.close()));
      await running.close();
    },
  };
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
  const controller: Controller = new Controller({
    name: kind.toLowerCase(),
    reconcile,
    concurrency,
    clock,
    random,
    log,
    metrics,
    relist: () => {
      for (const { metadata } of store.watch(kind).list()) controller.queue.add(keyText(metadata));
    },
  });
  return { controller, watch: () => definition.watch((key) => controller.queue.add(key)) };
}

/** Watches are synced before the first visit: a step that finds nothing must mean that there is nothing. */
function start(controllers: readonly Built[], store: ResourceStore, events: EventsReader<LedgerEvent>) {
  const subscriptions: (() => void)[] = [];
  let closed = false;
  const started = (async () => {
    // Those of others are watched by who needs them: a CRD that is not installed must not stop us.
    await Promise.all([...OWN_KINDS, 'Namespace' as const].map((kind) => store.watch(kind).synced));
    if (closed) return;
    for (const { controller, watch } of controllers) {
      subscriptions.push(...watch());
      controller.start();
    }
    events.start();
  })();
  return {
    started,
    close: async () => {
      closed = true;
      for (const end of subscriptions) end();
      await Promise.all([events.stop(), ...controllers.map(({ controller }) => controller.stop())]);
    },
  };
}
