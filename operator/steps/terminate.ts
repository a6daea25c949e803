import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import type { InstanceVisit } from './accept.ts';
import { takeDown } from './remove.ts';

/**
 * The last rung of the exhaustion ladder: as a removal, but the object stays, because its owner wrote it.
 * That the edge refuses is written first; from then on the end is final.
 */
export async function terminate(visit: InstanceVisit, ports: Ports): Promise<never> {
  const message = 'It was ended when its grace was over; write a new Instance to go on.';
  const { effective, lifecycle } = visit.object.status ?? {};
  if (effective?.state !== 'Terminated') {
    visit.status.lifecycle = 'Terminating';
    throw new Waiting(0, 'Terminating', 'The grace is over: the removal begins.');
  }
  if (lifecycle !== 'Terminated') await takeDown(visit, Date.parse(effective.sinceTime), ports);
  visit.status.lifecycle = 'Terminated';
  visit.status.commit = undefined;
  visit.status.secretVersions = undefined;
  throw new Terminal('Terminated', message);
}
