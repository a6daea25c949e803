import { FLEET_OFFERING, ROTATE } from './people.ts';
import { NS, type World } from './world.ts';

/** What everybody can see, one fact each, without what is random by nature. How often a secret changed is no part of it. */
export async function picture(world: World): Promise<string[]> {
  const facts: string[] = [];
  for (const { metadata, status } of await world.store.list('Instance', { namespace: NS })) {
    const { name, uid, generation, annotations, finalizers } = metadata;
    const current = status?.observedGeneration === generation;
    // Whoever applies the Instance without the annotation takes the request back.
    const asked = annotations?.[ROTATE];
    const echoed = asked === undefined || status?.rotation?.requestedAt === asked;
    const claimed = world.ledger.fulfilments.filter(({ instanceUid }) => instanceUid === uid).length;
    facts.push(
      `${name} ${status?.lifecycle} ${status?.version}, current ${current}, rotated ${echoed}, units ${claimed}`,
    );
    facts.push(`${name} ${finalizers}`);
    for (const { type, status: value, reason, message } of status?.conditions ?? [])
      facts.push(`${name} ${type} ${value} ${reason}: ${message}`);
  }
  const { version, phase, total, updated, failed, held } =
    (await world.get('Offering', FLEET_OFFERING)).status?.rollout ?? {};
  facts.push(`rollout of ${version} ${phase}: ${updated} of ${total}, ${failed} failed, ${held} held`);
  // A uid that YAML would read as a number is quoted.
  const plain = (text: string) =>
    text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8,}/g, '#').replaceAll('"#"', '#');
  // What a leader leaves at its takeover; one that has no rival takes nothing over.
  for (const [path, content] of world.git.files)
    if (path !== 'platform/README.md')
      for (const line of withoutVersions(plain(content)).split('\n')) facts.push(`${plain(path)}: ${line}`);
  facts.push(...[...world.secrets.values.keys()].map(plain), `${world.secrets.policies.size} policies`);
  return facts.sort();
}

/** Facts that only one of the two has, or has more often. */
export function differences(one: readonly string[], other: readonly string[]): string[] {
  const missing = (from: readonly string[], of: readonly string[]) => {
    const left = [...from];
    return of.filter((fact) => {
      const at = left.indexOf(fact);
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
  };
  return [...missing(one, other).map((fact) => `- ${fact}`), ...missing(other, one).map((fact) => `+ ${fact}`)];
}

/** The versions of secrets count rotations; those asked for during an outage are one. */
function withoutVersions(content: string): string {
  return content.replace(/(version|force-sync|secret-versions)(["']?: *)["']?[\w:.,#=-]*["']?/g, '$1$2*');
}

/** Effects that were committed again right after themselves. */
export function effectsTwice(world: World): string[] {
  const last = new Map<string, string>();
  return world.git.commits.flatMap(({ trailers }) => {
    const { 'Gsv-Instance-Uid': uid, 'Gsv-Effect': effect = '', 'Gsv-Retry-Of': retry } = trailers;
    if (uid === undefined || retry !== undefined) return [];
    const again = last.get(uid) === effect;
    last.set(uid, effect);
    return again ? [effect] : [];
  });
}
