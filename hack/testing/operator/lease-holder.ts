/**
 * A candidate in a process of its own, to be killed and stopped by tests:
 * `node lease-holder.ts KUBECONFIG NAME LOG`. While it leads it appends its epoch to LOG, as fast as it
 * may, with the time of the machine's monotonic clock before the guard was asked: a process that is
 * stopped after that has its write on the wire already. It ends when its term does.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '../../../config/log.ts';
import { KubernetesStore } from '../../../crds/store/kubernetes.ts';
import { systemClock } from '../../../operator/runtime/clock.ts';
import { Leader } from '../../../operator/runtime/leader.ts';

/** Short, so that a test need not wait; the proportions are the real ones. */
const TIMES = { leaseMs: 3_000, renewMs: 2_000, retryMs: 400 };
const WRITE_EVERY_MS = 5;

const [kubeConfig = '', identity = '', file = ''] = process.argv.slice(2);
const store = await KubernetesStore.open({ kubeConfig });
const leader = new Leader({
  store,
  namespace: 'gsv-system',
  name: 'gsv-operator',
  identity,
  clock: systemClock,
  monotonic: () => performance.now(),
  random: Math.random,
  log: createLogger({ part: 'lease-holder', level: 'silent' }),
  times: TIMES,
}).start();
process.once('SIGTERM', () => void leader.release());
let state = '';
while (leader.state !== 'deposed' && leader.state !== 'released') {
  if (leader.state === 'leading') {
    try {
      const asked = process.hrtime.bigint();
      leader.assert();
      appendFileSync(file, `${leader.epoch} ${asked}\n`);
    } catch {
      break;
    }
  }
  if (leader.state !== state) process.stdout.write(`${leader.state}\n`);
  state = leader.state;
  await delay(WRITE_EVERY_MS);
}
await leader.release();
await store.close();
process.stdout.write(`ended ${leader.state}\n`);
