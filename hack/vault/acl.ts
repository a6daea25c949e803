/** Vault's access control lists: policy text in HCL or JSON, templates, and which rule decides. */

const CAPABILITIES = ['create', 'read', 'update', 'patch', 'delete', 'list', 'scan', 'sudo', 'deny'] as const;
export type Capability = (typeof CAPABILITIES)[number];

export interface AclRule {
  path: string;
  capabilities: Capability[];
  /** What may be sent, and with which values: text, a `*` at its end or start for anything. Absent = anything. */
  parameters?: Record<string, string[]>;
}

/** Aliases of the identity behind a token: accessor of the auth mount -> metadata of the login. */
export type Aliases = Record<string, Record<string, string>>;

/** @throws Error as Vault's 400: what it cannot parse is refused, never ignored */
export function parsePolicy(text: string): AclRule[] {
  const rules = text.trimStart().startsWith('{') ? fromJson(text) : fromHcl(text);
  for (const { path, capabilities } of rules) {
    for (const capability of capabilities)
      if (!CAPABILITIES.includes(capability)) throw new Error(`path "${path}": invalid capability "${capability}"`);
    if (path.includes('+*')) throw new Error(`path "${path}": invalid use of wildcards ('+*' is forbidden)`);
  }
  return rules;
}

function fromJson(text: string): AclRule[] {
  const { path = {} } = JSON.parse(text) as { path?: Record<string, { capabilities?: Capability[] }> };
  return Object.entries(path).map(([each, { capabilities = [] }]) => ({ path: each, capabilities }));
}

function fromHcl(text: string): AclRule[] {
  const rules: AclRule[] = [];
  const stanza =
    /\s*path\s+"([^"\n]*)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*(?:allowed_parameters\s*=\s*\{([^}]*)\}\s*)?\}\s*/y;
  const bare = text.replace(/^\s*(#|\/\/).*$/gm, '');
  let at = 0;
  while (bare.slice(at).trim() !== '') {
    stanza.lastIndex = at;
    const found = stanza.exec(bare);
    if (!found) throw new Error('At 1:1: object expected');
    const listed = (found[2] ?? '').split(',').map((item) => item.trim());
    if (listed.at(-1) === '') listed.pop();
    const capabilities = listed.map((item) => item.replace(/^"(.*)"$/, '$1') as Capability);
    const parameters = found[3] === undefined ? {} : { parameters: parametersOf(found[3]) };
    rules.push({ path: found[1] ?? '', capabilities, ...parameters });
    at = stanza.lastIndex;
  }
  return rules;
}

function parametersOf(text: string): Record<string, string[]> {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, values = ''] = /^\s*"(\w+)"\s*=\s*\[(.*)\]\s*$/.exec(line) ?? [];
      if (name === undefined) throw new Error('At 1:1: allowed_parameters');
      return [name, [...values.matchAll(/"([^"]*)"/g)].map(([, value]) => value ?? '')];
    }),
  );
}

/** A rule whose template names nothing this identity has is dropped, as Vault does. */
export function fillTemplates(rules: readonly AclRule[], aliases: Aliases): AclRule[] {
  return rules.flatMap((rule) => {
    let missing = false;
    const path = rule.path.replace(
      /\{\{\s*identity\.entity\.aliases\.([\w-]+)\.metadata\.(\w+)\s*\}\}/g,
      (_, a, key) => {
        const value = aliases[a]?.[key];
        if (value === undefined) missing = true;
        return value ?? '';
      },
    );
    return missing || path.includes('{{') ? [] : [{ ...rule, path }];
  });
}

/**
 * Deny by default. Only the most specific pattern counts (an exact path before any wildcard, then the
 * longer prefix), with the capabilities of all policies that name this same pattern; `deny` beats all.
 */
export function allowed(
  rules: readonly AclRule[],
  path: string,
  wanted: Capability,
  body: Record<string, unknown> = {},
): boolean {
  const matching = rules.filter((rule) => matches(rule.path, path));
  const best = matching.map(({ path: pattern }) => pattern).sort(bySpecificity)[0];
  const deciding = matching.filter((rule) => rule.path === best);
  const granted = deciding.flatMap(({ capabilities }) => capabilities);
  if (!granted.includes(wanted) || granted.includes('deny')) return false;
  // Parameters bound writes only; a rule without any bounds nothing.
  const writes = wanted === 'create' || wanted === 'update' || wanted === 'patch';
  return !writes || deciding.some((rule) => sends(rule.parameters, body));
}

/** Every parameter that is sent must be named, and fit one of its patterns: as a whole, or each member of a list. */
function sends(parameters: AclRule['parameters'], body: Record<string, unknown>): boolean {
  if (parameters === undefined) return true;
  return Object.entries(body).every(([name, value]) => {
    const patterns = parameters[name];
    if (patterns === undefined) return false;
    const fitting = (each: unknown): boolean => patterns.some((pattern) => fits(pattern, each));
    if (patterns.length === 0 || fitting(value)) return true;
    if (typeof value === 'string') return value.split(',').every((each) => fitting(each.trim()));
    return Array.isArray(value) && value.every(fitting);
  });
}

/** A `*` at the end stands for anything. */
export function fits(pattern: string, value: unknown): boolean {
  if (typeof value !== 'string') return false;
  return pattern.endsWith('*') ? value.startsWith(pattern.slice(0, -1)) : value === pattern;
}

function matches(pattern: string, path: string): boolean {
  const prefix = pattern.endsWith('*');
  const wanted = (prefix ? pattern.slice(0, -1) : pattern).split('/');
  const given = path.split('/');
  if (prefix ? given.length < wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, index) => {
    if (prefix && index === wanted.length - 1) return given.slice(index).join('/').startsWith(segment);
    return segment === '+' || segment === given[index];
  });
}

function bySpecificity(a: string, b: string): number {
  const rank = (pattern: string): number[] => {
    const wildcard = pattern.search(/[+*]/);
    return [wildcard === -1 ? Number.MAX_SAFE_INTEGER : wildcard, pattern.endsWith('*') ? 0 : 1, pattern.length];
  };
  const [left, right] = [rank(a), rank(b)];
  for (const [index, value] of left.entries()) if (value !== right[index]) return (right[index] ?? 0) - value;
  return a < b ? 1 : -1;
}
