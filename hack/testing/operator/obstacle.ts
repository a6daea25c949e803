import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { ConditionType } from '../../../crds/conditions.ts';
import type { InstanceSpec } from '../../../crds/generated/kinds.ts';
import { NS, World } from './world.ts';

const KEY = { namespace: NS, name: 'claims' };

export type Treatment = 'Waiting' | 'Transient' | 'Terminal';

/** Something that keeps an Instance from being Ready. */
export interface Obstacle {
  reason: string;
  treatment: Treatment;
  /** The condition that is False for it. */
  shows: ConditionType;
  /** Makes the obstacle; returns what the Instance says. */
  given: (world: World) => Promise<Partial<InstanceSpec>>;
  /** Takes it away; the Instance then becomes Ready by itself. Absent: nothing but a new spec helps. */
  cure?: (world: World) => Promise<void>;
  /** How long it may take after the cure: the fixed delay of what nobody announces. */
  withinMs?: number;
}

/** One test: the obstacle is shown as it should be, and its cure is enough. */
export function testObstacle({ reason, treatment, shows, given, cure, withinMs }: Obstacle): void {
  test(`${reason} is ${treatment}${cure ? ' and goes by itself' : ''}`, async () => {
    const world = await World.open();
    try {
      await world.start();
      await world.order('claims', await given(world));
      assert.is(await world.condition('Instance', KEY), `False/${reason}`);
      if (treatment !== 'Transient') assert.is(await world.condition('Instance', KEY, shows), `False/${reason}`);
      const { metadata, status } = await world.instance();
      assert.is((await world.condition('Instance', KEY, 'Stalled')) !== '-', treatment === 'Terminal');
      assert.is((await world.condition('Instance', KEY, 'Reconciling')) !== '-', treatment !== 'Terminal');
      assert.is(status?.observedGeneration, treatment === 'Terminal' ? metadata.generation : -1);
      if (cure) await cureAndExpectReady(world, cure, withinMs ?? 0);
    } finally {
      await world.close();
    }
  });
}

async function cureAndExpectReady(world: World, cure: (world: World) => Promise<void>, withinMs: number) {
  // Where no unit is claimed the wallet pays.
  if (
    (await world.instance()).spec.fulfilment === undefined &&
    (world.ledger.wallets.get('acme.main')?.available ?? 0) === 0
  )
    world.ledger.credit('acme.main', 1_000_000);
  await cure(world);
  await world.advance(withinMs);
  assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  assert.is((await world.instance()).status?.lifecycle, 'Active');
}
