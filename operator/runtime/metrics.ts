import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Resource } from '../../crds/kinds.ts';
import type { Leader } from './leader.ts';

/** 1 ms to 30 s: a visit without outside effects up to one that waits for a slow remote. */
const VISIT_BUCKETS_SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30];

/** What every controller counts, and who else is told. One per registry. */
export interface ControllerMetrics {
  visits: Counter<'controller' | 'outcome'>;
  /** Visits that could not finish, under the reason that the object's `Ready` carries. */
  heldUp: Counter<'controller' | 'reason'>;
  seconds: Histogram<'controller'>;
  depth: Gauge<'controller'>;
  statusWrites: Counter<'controller'>;
  /** Called after a status was written; must neither throw nor wait. */
  statusWritten?: StatusListener;
}

/** An object as it was read and as it was written. */
export type StatusListener = (before: Resource<unknown, unknown>, after: Resource<unknown, unknown>) => void;

export function controllerMetrics(registry: Registry): ControllerMetrics {
  const registers = [registry];
  return {
    visits: new Counter({
      name: 'gsv_operator_reconcile_total',
      help: 'Visits of a controller by outcome.',
      labelNames: ['controller', 'outcome'],
      registers,
    }),
    heldUp: new Counter({
      name: 'gsv_operator_held_up_total',
      help: 'Visits that ended Waiting, Transient or Terminal, by the reason that stands in the condition Ready.',
      labelNames: ['controller', 'reason'],
      registers,
    }),
    seconds: new Histogram({
      name: 'gsv_operator_reconcile_seconds',
      help: 'Duration of a visit.',
      labelNames: ['controller'],
      buckets: VISIT_BUCKETS_SECONDS,
      registers,
    }),
    depth: new Gauge({
      name: 'gsv_operator_queue_depth',
      help: 'Keys that wait for a visit.',
      labelNames: ['controller'],
      registers,
    }),
    statusWrites: new Counter({
      name: 'gsv_operator_status_writes_total',
      help: 'Status documents written.',
      labelNames: ['controller'],
      registers,
    }),
  };
}

/** Who leads, at every scrape. */
export function leaderMetrics(registry: Registry, leader: Leader): void {
  new Gauge({
    name: 'gsv_operator_leader',
    help: '1 while this process leads, 0 on a standby and after its term.',
    registers: [registry],
    collect() {
      this.set(leader.state === 'leading' ? 1 : 0);
    },
  });
  new Gauge({
    name: 'gsv_operator_epoch',
    help: 'Epoch of the term of this process; 0 before it.',
    registers: [registry],
    collect() {
      this.set(leader.epoch);
    },
  });
}
