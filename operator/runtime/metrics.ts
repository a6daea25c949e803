import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** 1 ms to 30 s: a visit without outside effects up to one that waits for a slow remote. */
const VISIT_BUCKETS_SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30];

/** What every controller counts. One per registry. */
export interface ControllerMetrics {
  visits: Counter<'controller' | 'outcome'>;
  seconds: Histogram<'controller'>;
  depth: Gauge<'controller'>;
  statusWrites: Counter<'controller'>;
}

export function controllerMetrics(registry: Registry): ControllerMetrics {
  const registers = [registry];
  return {
    visits: new Counter({
      name: 'gsv_operator_reconcile_total',
      help: 'Visits of a controller by outcome.',
      labelNames: ['controller', 'outcome'],
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
