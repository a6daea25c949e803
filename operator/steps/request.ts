import type { InstanceVisit } from './accept.ts';

/** What the CRD admits as an echo. */
const RFC3339 =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/;

/**
 * A "do it now" that was not acted on yet: the value of the annotation while it differs from its echo in
 * status. What is no time is nobody's request.
 */
export function requestOf(
  { object }: Pick<InstanceVisit, 'object'>,
  annotation: string,
  handled: string | undefined,
): string | undefined {
  const value = object.metadata.annotations?.[annotation];
  return value !== undefined && value !== handled && RFC3339.test(value) ? value : undefined;
}
