import type { SetChange, ValueChange } from './changed.ts';
import type { Preview } from './preview.ts';
import type { Price } from './terms.ts';

/** A preview for people, as plain text. */
export function previewText({ files, access, entitlements, credits, obstacles }: Preview): string {
  const sections: [title: string, lines: string[]][] = [
    ['Would be refused', obstacles.map(({ pointer, message }) => `${pointer}: ${message}`)],
    [
      'Terms',
      [
        ...value('offering', entitlements.offering),
        ...value('version', entitlements.version),
        ...value('contract', entitlements.contractDigest),
        ...value('plan', entitlements.plan),
        ...entitlements.features.flatMap(({ name, ...change }) => value(`feature ${name}`, change)),
        ...entitlements.limits.flatMap(({ name, ...change }) => value(`limit ${name}`, change)),
      ],
    ],
    [
      'Credits (microcredits)',
      [
        ...value('reserve per run', credits.reservePerRunMicrocredits),
        ...value('least balance without a paid unit', credits.minimumBalanceMicrocredits),
        ...value('included in the plan', credits.includedMicrocredits),
        ...value('period', credits.period),
        ...credits.dimensions.flatMap(({ name, before, after }) =>
          value(`price of ${name}`, {
            ...(before ? { before: price(before) } : {}),
            ...(after ? { after: price(after) } : {}),
          }),
        ),
      ],
    ],
    ['Permissions and network', Object.entries(access).flatMap(([name, change]) => set(name, change as SetChange))],
    ['Git', files.map(({ path, action }) => `${action.toLowerCase()} ${path}`)],
  ];
  const shown = sections
    .filter(([title, lines]) => lines.length > 0 || title !== 'Would be refused')
    .map(
      ([title, lines]) =>
        `${title}\n${(lines.length > 0 ? lines : ['no change']).map((line) => `  ${line}\n`).join('')}`,
    );
  return [...shown, ...files.map(({ diff }) => diff)].join('\n');
}

function value<T extends string | number>(name: string, { before, after }: ValueChange<T>): string[] {
  if (before === after) return [];
  return [`${name}: ${before ?? '-'} -> ${after ?? '-'}`];
}

function set(name: string, { added, removed }: SetChange): string[] {
  return [...added.map((each) => `+ ${name}: ${each}`), ...removed.map((each) => `- ${name}: ${each}`)];
}

function price({ priceMicrocredits, perUnits, unit, reserveUnits }: Price): string {
  return `${priceMicrocredits} per ${perUnits === 1 ? '' : `${perUnits} `}${unit}, ${reserveUnits} reserved`;
}
