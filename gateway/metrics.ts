import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** The edge's figures. No label holds a name that callers choose: those are without bound. */
export interface EdgeMetrics {
  requests: Counter<'route' | 'method' | 'status'>;
  problems: Counter<'code'>;
  runSeconds: Histogram<'outcome'>;
  /** Holds that could not be given back after a failure; they end at their TTL. */
  heldToExpiry: Counter;
}

export function createEdgeMetrics(registry: Registry, running: () => number): EdgeMetrics {
  new Gauge({
    name: 'gsv_edge_runs_in_flight',
    help: 'Runs that this edge carries now.',
    registers: [registry],
    collect() {
      this.set(running());
    },
  });
  return {
    requests: new Counter({
      name: 'gsv_edge_requests_total',
      help: 'Requests by route, method and status.',
      labelNames: ['route', 'method', 'status'],
      registers: [registry],
    }),
    problems: new Counter({
      name: 'gsv_edge_problems_total',
      help: 'Problems by code.',
      labelNames: ['code'],
      registers: [registry],
    }),
    runSeconds: new Histogram({
      name: 'gsv_edge_run_seconds',
      help: 'Time from the hold to the end of the reply.',
      labelNames: ['outcome'],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600],
      registers: [registry],
    }),
    heldToExpiry: new Counter({
      name: 'gsv_edge_holds_left_to_expiry_total',
      help: 'Holds that could not be given back after a failure.',
      registers: [registry],
    }),
  };
}
