import { RenderError } from './errors.ts';

/** What a manifest is made of. `undefined` members are left out. */
export type Value = string | number | boolean | Value[] | { [key: string]: Value | undefined };
export type Manifest = { apiVersion: string; kind: string; metadata: { [key: string]: Value | undefined } } & {
  [key: string]: Value | undefined;
};

/**
 * Words that no YAML parser takes for anything but a string start with a letter and hold only these.
 * Everything else is written in double quotes with JSON escapes: a small set of plain words is
 * easier to trust than a long list of exceptions (`on`, `1e3`, `0o7`, dates, `~` …).
 */
const PLAIN = /^[A-Za-z][-A-Za-z0-9./]*$/;
/** The exceptions among plain words: booleans and nulls of YAML 1.1 and 1.2, and `e0`, which some take for a number. */
const RESERVED = /^(y|n|yes|no|on|off|true|false|null|nan|inf|e-?[0-9]+)$/i;
/** What JSON leaves as it is but YAML forbids in a document or takes for a line break. */
const UNPRINTABLE = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;
/** YAML's own limit for a key on one line is 1024. Characters. */
const MAX_KEY = 512;
/** Deeper than any manifest of ours; a guard against a cycle. */
const MAX_DEPTH = 24;

/**
 * Writes one manifest as a YAML document that YAML 1.1 and 1.2 parsers read alike. Pure and
 * deterministic: members stay in the order in which the renderer wrote them.
 *
 * @throws RenderError `invalid_value` for what YAML cannot carry exactly (fractions, unsafe integers)
 */
export function toYaml(manifest: Manifest): string {
  return `${block(manifest, 0).join('\n')}\n`;
}

/** Several manifests as one file. No line of a manifest begins with what parts them: every string is on one line. */
export function documents(manifests: readonly Manifest[]): string {
  return manifests.map(toYaml).join('---\n');
}

function block(value: { [key: string]: Value | undefined }, depth: number): string[] {
  if (depth > MAX_DEPTH) throw new RenderError('invalid_value', `a manifest is nested deeper than ${MAX_DEPTH} levels`);
  return Object.entries(value).flatMap(([key, member]) =>
    member === undefined ? [] : attach(`${keyText(key)}:`, member, depth),
  );
}

function attach(head: string, value: Value, depth: number): string[] {
  const pad = '  '.repeat(depth);
  if (Array.isArray(value)) {
    if (value.length === 0) return [`${pad}${head} []`];
    return [`${pad}${head}`, ...value.flatMap((item) => listItem(item, depth + 1))];
  }
  if (typeof value !== 'object') return [`${pad}${head} ${scalar(value)}`];
  const lines = block(value, depth + 1);
  return lines.length === 0 ? [`${pad}${head} {}`] : [`${pad}${head}`, ...lines];
}

function listItem(item: Value, depth: number): string[] {
  const pad = '  '.repeat(depth);
  if (Array.isArray(item)) throw new RenderError('invalid_value', 'a manifest has no list of lists');
  if (typeof item !== 'object') return [`${pad}- ${scalar(item)}`];
  const lines = block(item, depth + 1);
  const [first, ...rest] = lines;
  return first === undefined ? [`${pad}- {}`] : [`${pad}- ${first.trimStart()}`, ...rest];
}

function keyText(key: string): string {
  const text = scalar(key);
  if (text.length > MAX_KEY) throw new RenderError('invalid_value', `a key is longer than ${MAX_KEY} characters`);
  return text;
}

function scalar(value: string | number | boolean): string {
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new RenderError('invalid_value', 'a number is not a safe integer');
    return String(value === 0 ? 0 : value);
  }
  return PLAIN.test(value) && !RESERVED.test(value) ? value : quoted(value);
}

/** Lone surrogates cannot be UTF-8; they become U+FFFD, as everywhere else on their way. */
function quoted(text: string): string {
  return JSON.stringify(text.toWellFormed()).replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
