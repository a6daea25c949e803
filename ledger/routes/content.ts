import { Problem } from '../../config/problem.ts';

/** Deeper nesting has no use in any body, and PostgreSQL's JSON parser must never meet its stack limit. */
const MAX_DEPTH = 16;

/**
 * Refuses what JSON can say and PostgreSQL cannot store: NUL characters, halves of surrogate pairs and
 * bottomless nesting. Without it they would surface as a database error deep inside an operation.
 *
 * @throws Problem 422 `invalid_request` with the JSON pointer
 */
export function assertPlainText(value: unknown, where: 'params' | 'querystring' | 'body'): void {
  const found = findUnstorable(value, '', 0);
  if (!found) return;
  throw new Problem({
    status: 422,
    code: 'invalid_request',
    detail: `${where} is invalid: ${found.pointer || '/'} ${found.message}`,
    errors: [found],
  });
}

function findUnstorable(
  value: unknown,
  pointer: string,
  depth: number,
): { pointer: string; rule: string; message: string } | undefined {
  if (typeof value === 'string') {
    return isStorable(value) ? undefined : { pointer, rule: 'text', message: 'must be text without NUL characters' };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth === MAX_DEPTH) return { pointer, rule: 'depth', message: `must not nest deeper than ${MAX_DEPTH}` };
  for (const [name, member] of Object.entries(value)) {
    if (!isStorable(name)) return { pointer, rule: 'text', message: 'must have names without NUL characters' };
    const found = findUnstorable(member, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, depth + 1);
    if (found) return found;
  }
  return undefined;
}

function isStorable(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed();
}
