import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface RunnerMetrics {
  /** Ended runs by outcome: `succeeded`, or the problem's code. */
  runs: Counter<'outcome'>;
  /** Executed runs that could not be charged, by the ledger's code. Their holds release at TTL. */
  unsettled: Counter<'reason'>;
  /** Failed runs whose hold could not be voided at once. */
  unvoided: Counter;
  running: Gauge;
  /** From ticket to settled, in seconds. */
  duration: Histogram;
}

export function runnerMetrics(registry: Registry): RunnerMetrics {
  const registers = [registry];
  return {
    runs: new Counter({ name: 'gsv_runs_total', help: 'Ended runs by outcome', labelNames: ['outcome'], registers }),
    unsettled: new Counter({
      name: 'gsv_runs_unsettled_total',
      help: 'Executed runs that were not charged; their holds release at TTL',
      labelNames: ['reason'],
      registers,
    }),
    unvoided: new Counter({
      name: 'gsv_holds_unvoided_total',
      help: 'Failed runs whose hold stays until its TTL',
      registers,
    }),
    running: new Gauge({ name: 'gsv_runs_running', help: 'Runs in progress', registers }),
    duration: new Histogram({
      name: 'gsv_run_seconds',
      help: 'Time of a run until it is settled',
      buckets: [0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
      registers,
    }),
  };
}
