import type { Instance } from '../../../crds/kinds.ts';
import { seeded } from '../faults.ts';
import { Chaos, type ChaosCounts } from './chaos.ts';
import { Pair, type PairCounts, type PairOptions } from './pair.ts';
import { FLEET_OFFERING, MENDED, People, SUSPECT } from './people.ts';
import { effectsTwice, picture } from './picture.ts';
import type { StaleCall } from './rivals.ts';
import { NS, World } from './world.ts';

const OPERATIONS = 16;
/** The fleet is told of the suspect version at one of the first so many operations. */
const RELEASED_WITHIN = 8;
/** Long enough for the groups of a rollout, and for what does not work to be given back. Milliseconds. */
const AFTERNOON_MS = 600_000;
const LOOK_MS = 15_000;
/** Longer than the longest backoff, and than the rest of a rollout. Milliseconds. */
const RECOVERY_MS = 1_200_000;
/**
 * Share of calls that a fault befalls: at 0.06 about one visit in three. Of two operators fewer, or they would be
 * killed before they lead for long enough to be deposed.
 */
const RATES: Readonly<Record<Weather, number>> = { calm: 0, alone: 0.06, pair: 0.02 };
/** Watches list again at each so manyth operation; what they do not hear until then starts somewhat before. */
const RELIST_EVERY = 5;
const SILENT_FROM = 2;

/** What happens around the operators. `calm`: one of them, and nothing. */
export type Weather = 'calm' | 'alone' | 'pair';

export interface DayOptions extends Omit<PairOptions, 'rate'> {
  weather: Weather;
  /** Breaks something on purpose. */
  sabotage?: (world: World) => void;
}

export interface Day {
  /** What everybody can see at the end, one fact each. */
  end: string[];
  /** What was not as it must be when the suspect version had been dealt with. */
  halfway: string[];
  /** How the rollout of the suspect version had ended by then. */
  rollout: string;
  rolledBack: number;
  fired: Partial<ChaosCounts & PairCounts & { restarts: number }>;
  effectsTwice: string[];
  stale: StaleCall[];
  late: StaleCall[];
  /** Epochs of the commits that the pair made, in their order. */
  epochs: number[];
}

/** What the weather does to the operators of a world. */
interface Operators {
  start(): Promise<void>;
  /** To be called now and then: what has ended is begun anew. */
  care(serial: number): Promise<void>;
  end(): Promise<void>;
  fired(): Day['fired'];
}

/** One day of a store: what people do depends on the seed alone, what befalls the operators also on the weather. */
export async function day({ weather, seed, sabotage, ...more }: DayOptions): Promise<Day> {
  const rate = RATES[weather];
  const world = await World.open(seed);
  sabotage?.(world);
  const random = seeded(seed);
  const people = new People(world, random);
  const pair = weather === 'pair' ? new Pair(world, { seed, rate, ...more }) : undefined;
  const operators = pair === undefined ? alone(world, seed, rate) : together(pair);
  try {
    await world.start();
    await people.morning();
    await world.stop();
    await operators.start();
    const releasedAt = Math.floor(random() * RELEASED_WITHIN);
    for (let serial = 0; serial < OPERATIONS; serial++) {
      if (serial === releasedAt) await people.release(SUSPECT);
      await people.act(serial);
      await world.advance(random() * 10_000);
      await operators.care(serial);
    }
    for (let passed = 0; passed < AFTERNOON_MS; passed += LOOK_MS) {
      await world.advance(LOOK_MS);
      await operators.care(OPERATIONS + passed / LOOK_MS);
    }
    await operators.end();
    await world.start();
    await world.advance(RECOVERY_MS);
    const { phase } = (await world.get('Offering', FLEET_OFFERING)).status?.rollout ?? {};
    const fleet = await fleetOf(world);
    const halfway = fleet.flatMap((each) => faultsOf(each, people.broken, phase));
    const rolledBack = fleet.filter(({ status }) => status?.upgrade?.phase === 'RolledBack').length;
    await people.evening();
    await people.release(MENDED);
    await world.advance(RECOVERY_MS);
    return {
      end: await picture(world),
      halfway,
      rollout: phase ?? 'None',
      rolledBack,
      fired: operators.fired(),
      effectsTwice: effectsTwice(world),
      stale: pair?.stale ?? [],
      late: pair?.late ?? [],
      epochs: world.git.epochs,
    };
  } finally {
    await operators.end();
    await world.close();
  }
}

/** One operator, started again when it has been killed. */
function alone(world: World, seed: number, rate: number): Operators {
  const totals = new Chaos({ seed, rate: 0 }).figures();
  let restarts = -1;
  let chaos: Chaos | undefined;
  const note = () => {
    for (const [fault, times] of Object.entries(chaos?.figures() ?? {})) totals[fault as keyof ChaosCounts] += times;
    chaos = undefined;
  };
  const start = async () => {
    note();
    await world.stop();
    restarts += 1;
    chaos = rate === 0 ? undefined : new Chaos({ seed: seed * 1_000 + restarts, rate });
    await world.start(chaos?.wrap);
  };
  return {
    start,
    care: async (serial) => {
      if (chaos?.dead) await start();
      else if (chaos !== undefined) quietly(chaos, serial);
    },
    end: async () => {
      note();
      await world.stop();
    },
    fired: () => ({ ...totals, restarts }),
  };
}

function together(pair: Pair): Operators {
  return {
    start: () => pair.start(),
    care: async (serial) => {
      await pair.care();
      quietly(pair, serial);
      pair.trouble();
    },
    end: () => pair.close(),
    fired: () => ({ ...pair.chaosFigures(), ...pair.fired }),
  };
}

function quietly(watches: Pick<Chaos, 'silence' | 'relist'>, serial: number): void {
  if (serial % RELIST_EVERY === SILENT_FROM) watches.silence();
  if (serial % RELIST_EVERY === RELIST_EVERY - 1) watches.relist();
}

function fleetOf(world: World): Promise<Instance[]> {
  return world.store
    .list('Instance', { namespace: NS })
    .then((all) => all.filter(({ spec }) => spec.offeringRef.name === FLEET_OFFERING.name));
}

/** What may not be of one of the fleet once a suspect version has had its time. */
function faultsOf({ metadata, status }: Instance, broken: ReadonlySet<string>, phase: string | undefined): string[] {
  if (status?.effective?.state !== 'Running') return [];
  const { version, previousVersion, upgrade, conditions } = status;
  const ready = conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  // One that was ordered when the channel had moved already has nothing to go back to.
  const stuck = version === SUSPECT && broken.has(metadata.name) && previousVersion === undefined;
  const faults: [boolean, string][] = [
    [!ready && !stuck, 'does not work'],
    [ready && version === SUSPECT && broken.has(metadata.name), 'is ready by a version that does not work for it'],
    [upgrade?.phase === 'Proving' && !stuck, 'still proves a version'],
    [
      upgrade?.phase === 'RolledBack' && (version !== '1.0.0' || !broken.has(metadata.name)),
      'was taken back for nothing',
    ],
    [upgrade?.phase === 'RolledBack' && phase === 'Rolling', 'has failed, and the rollout goes on'],
  ];
  return faults.flatMap(([is, fault]) => (is ? [`${metadata.name} ${fault} (${version}, ${phase})`] : []));
}
