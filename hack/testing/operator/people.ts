import type { InstanceSpec, OfferingSpec } from '../../../crds/generated/kinds.ts';
import { publishedVersion, secretCapability } from './catalog.ts';
import { NS, type World } from './world.ts';

export const ROTATE = 'store.gsv.dev/rotate-requested-at';
export const FLEET_OFFERING = { name: 'fleet-agent' };
/** A version that does not work for everybody, and the one that mends it. */
export const SUSPECT = '1.1.0';
export const MENDED = '1.2.0';

/** Those who decide for themselves, and those who follow the channel by themselves: groups of one, four and one. */
const SINGLES = ['one', 'two', 'three'];
export const FLEET = ['f1', 'f2', 'f3', 'f4', 'f5', 'f6'];
/** Share of days on which the suspect version works for everybody; on the others, of the fleet for which it does not. */
const GOOD_DAYS = 0.3;
const BROKEN = 0.35;

const key = (name: string) => ({ namespace: NS, name });
const capability = () => ({ ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] });

/** People, who know what they want of each Instance, and say it again in the evening, as Argo CD does of CRs in Git. */
export class People {
  readonly #world: World;
  readonly #random: () => number;
  readonly #wanted = new Map<string, InstanceSpec>();
  /** For whom the suspect version does not work. */
  readonly broken: ReadonlySet<string>;

  constructor(world: World, random: () => number) {
    this.#world = world;
    this.#random = random;
    const good = random() < GOOD_DAYS;
    this.broken = new Set(FLEET.filter(() => random() < BROKEN && !good));
  }

  /** Two Offerings, one with a fleet that runs its first version; the runner that knows for whom a version works. */
  async morning(): Promise<void> {
    const world = this.#world;
    await world.catalog({ capability: capability() });
    await this.#publish('claims-agent', '1.1.0');
    await world.apply('Offering', FLEET_OFFERING, offering('1.0.0'));
    for (const version of ['1.0.0', SUSPECT, MENDED]) await this.#publish(FLEET_OFFERING.name, version);
    for (const name of FLEET) await this.#order(name);
    const { reply } = world.probe;
    world.probe.reply = (organization, name) => {
      const { status } = world.store.watch('Instance').get(key(name)) ?? {};
      // At its first visit an Instance has not said yet what it is bound to.
      const version = status?.version ?? world.store.watch('Offering').get(FLEET_OFFERING)?.spec.channel;
      if (version !== SUSPECT || !this.broken.has(name)) return reply(organization, name);
      return { ok: false, code: 'artifact_corrupt', detail: 'it does not work.' };
    };
  }

  /** One thing that somebody does: some of it to Instances that are not there, or not any more. */
  async act(serial: number): Promise<void> {
    const all = [...SINGLES, ...SINGLES, ...FLEET];
    const name = this.#oneOf(all) ?? 'one';
    const acts = [
      () => this.#order(name),
      () => this.#order(name),
      () => this.#edit(name, { config: { tone: 'brisk' } }),
      () => this.#edit(name, { config: { tone: 'calm' } }),
      () => this.#edit(name, { suspend: true }),
      () => this.#edit(name, { suspend: false }),
      () => this.#edit(name, FLEET.includes(name) ? { config: {} } : { version: '1.1.0' }),
      () => this.#delete(name),
      () => this.#rotate(name, serial),
      () => this.#world.advance(30_000),
    ];
    await this.#oneOf(acts)?.();
  }

  /** The fleet is told to take a version. */
  async release(version: string): Promise<void> {
    await this.#world.apply('Offering', FLEET_OFFERING, offering(version));
  }

  /** All that were paused go on, and what could not be said during the day is said now. */
  async evening(): Promise<void> {
    for (const name of this.#wanted.keys()) await this.#edit(name, { suspend: false });
  }

  #oneOf<T>(choices: readonly T[]): T | undefined {
    return choices[Math.floor(this.#random() * choices.length)];
  }

  async #publish(offered: string, version: string): Promise<void> {
    const spec = await publishedVersion(this.#world.blobs, offered, version, { triage: capability() });
    await this.#world.apply('OfferingVersion', { name: `${offered}-${version}` }, spec);
  }

  async #order(name: string): Promise<void> {
    if (this.#wanted.has(name)) return;
    const follows = FLEET.includes(name);
    const offered = follows ? FLEET_OFFERING.name : 'claims-agent';
    const fulfilment = this.#world.pay(this.#world.ledger.fulfilments.length, { offering: offered });
    const refs = {
      projectRef: { name: 'default' },
      offeringRef: { name: offered },
      walletRef: { name: 'main' },
    };
    const policy = follows ? { upgradePolicy: 'Automatic' as const } : {};
    this.#wanted.set(name, { ...refs, ...policy, plan: 'starter', config: {}, fulfilment });
    await this.#say(name);
  }

  async #edit(name: string, change: Partial<InstanceSpec>): Promise<void> {
    const wanted = this.#wanted.get(name);
    if (wanted === undefined) return;
    this.#wanted.set(name, { ...wanted, ...change });
    await this.#say(name);
  }

  async #delete(name: string): Promise<void> {
    if (this.#wanted.delete(name)) await this.#world.delete('Instance', key(name));
  }

  async #rotate(name: string, serial: number): Promise<void> {
    if (!(await this.#isThere(name))) return;
    await this.#world.annotate({ [ROTATE]: `2026-01-01T00:00:${String(serial).padStart(2, '0')}Z` }, name);
  }

  /** An earlier one of that name that is still going is in the way. */
  async #say(name: string): Promise<void> {
    const present = await this.#world.store.get('Instance', key(name));
    const wanted = this.#wanted.get(name);
    if (present?.metadata.deletionTimestamp === undefined && wanted !== undefined)
      await this.#world.apply('Instance', key(name), wanted);
  }

  async #isThere(name: string): Promise<boolean> {
    const present = await this.#world.store.get('Instance', key(name));
    return present !== undefined && present.metadata.deletionTimestamp === undefined;
  }
}

function offering(channel: string): OfferingSpec {
  return { category: 'Agent', display: { title: 'Fleet Agent' }, lifecycle: 'Published', channel };
}
