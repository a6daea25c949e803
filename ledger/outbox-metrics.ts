import { Counter, Gauge, type Registry } from 'prom-client';
import type { Logger } from '../config/log.ts';
import { unlessAway } from './metrics.ts';
import type { Outbox } from './outbox.ts';
import type { OutboxObserver } from './outbox-sender.ts';

/** Registers the outbox' figures. Where it stands is read from the database, so that every replica says the same. */
export function createOutboxMetrics(options: { registry: Registry; outbox: Outbox; log: Logger }): OutboxObserver {
  const { outbox, log } = options;
  const registers = [options.registry];
  const sent = new Counter({
    name: 'gsv_ledger_outbox_sent_total',
    help: 'Events that OpenMeter has taken, repetitions included.',
    registers,
  });
  const failed = new Counter({
    name: 'gsv_ledger_outbox_failed_total',
    help: 'Failed tries to send by reason; refused = events that were parked, or too many of them in a row.',
    labelNames: ['reason'],
    registers,
  });
  new Gauge({
    name: 'gsv_ledger_outbox_lag',
    help: 'Numbers of receipts that OpenMeter has not been told of.',
    registers,
    async collect() {
      await unlessAway(log, async () => this.set((await outbox.state(true)).lag));
    },
  });
  new Gauge({
    name: 'gsv_ledger_outbox_oldest_seconds',
    help: 'Age of the oldest receipt that OpenMeter has not been told of; 0 without one.',
    registers,
    async collect() {
      await unlessAway(log, async () => this.set(await outbox.oldestSeconds()));
    },
  });
  new Gauge({
    name: 'gsv_ledger_outbox_parked',
    help: 'Receipts with events that OpenMeter refuses.',
    registers,
    async collect() {
      await unlessAway(log, async () => this.set((await outbox.state(true)).parked));
    },
  });
  return {
    sent: (events) => sent.inc(events),
    failed: (reason) => failed.inc({ reason }),
  };
}
