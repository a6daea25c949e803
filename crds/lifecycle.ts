import type { OfferingSpec } from './generated/kinds.ts';

export type OfferingLifecycle = OfferingSpec['lifecycle'];

/**
 * Where an Offering is in its life at a moment: what its spec says, moved on by its times. Nobody writes
 * the spec when a time passes; whoever needs the lifecycle computes it from here. A draft has no times:
 * what was never sold does not end.
 *
 * @param nowMs milliseconds since the epoch
 */
export function effectiveLifecycle(
  spec: Pick<OfferingSpec, 'lifecycle' | 'endOfSaleTime' | 'endOfLifeTime'>,
  nowMs: number,
): OfferingLifecycle {
  if (spec.lifecycle === 'Draft' || spec.lifecycle === 'EndOfLife') return spec.lifecycle;
  if (passed(spec.endOfLifeTime, nowMs)) return 'EndOfLife';
  return passed(spec.endOfSaleTime, nowMs) ? 'EndOfSale' : spec.lifecycle;
}

/** Milliseconds from `nowMs` to the next time that changes {@link effectiveLifecycle}; undefined when there is none. */
export function nextLifecycleChangeMs(
  { lifecycle, endOfSaleTime, endOfLifeTime }: Pick<OfferingSpec, 'lifecycle' | 'endOfSaleTime' | 'endOfLifeTime'>,
  nowMs: number,
): number | undefined {
  if (lifecycle === 'Draft' || lifecycle === 'EndOfLife') return undefined;
  const ahead = [endOfSaleTime, endOfLifeTime].flatMap((time) => {
    const left = time === undefined ? 0 : Date.parse(time) - nowMs;
    return left > 0 ? [left] : [];
  });
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}

function passed(time: string | undefined, nowMs: number): boolean {
  return time !== undefined && nowMs >= Date.parse(time);
}
