/**
 * Finds secrets in a Langflow export. An artifact is stored, copied and read by many; a credential
 * in it is a leak. Publishing refuses such a flow, and the operator scans the stored artifact again.
 *
 * Shape (Langflow 1.x): `data.nodes[].data.node.template.<field>` with `value`, `password`,
 * `load_from_db`, `_input_type`.
 */
export interface FlowFinding {
  /** Id of the node, or `flow` for what stands outside the nodes. */
  node: string;
  /** Path of the field below the node. */
  field: string;
  rule: 'secret-field' | 'secret-name' | 'secret-reference' | 'token-shape' | 'url-credentials' | 'too-deep';
  /** A sentence that says what to do. Never contains the value. */
  message: string;
}

type Json = Record<string, unknown>;

/** Known credential shapes. Each is specific enough not to match prose or library code. */
const TOKEN_SHAPES: readonly [name: string, pattern: RegExp][] = [
  ['an OpenAI or Anthropic key', /\bsk-(?:ant-|proj-)?[\w-]{20,}/],
  ['a GitHub token', /\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,})/],
  ['a GitLab token', /\bglpat-[\w-]{20,}/],
  ['a Slack token', /\bxox[abeoprs]-[\w-]{10,}/],
  ['an AWS access key', /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/],
  ['a Google API key', /\bAIza[\w-]{35}/],
  ['a Stripe key', /\b[rs]k_(?:live|test)_\w{16,}/],
  ['a SendGrid key', /\bSG\.[\w-]{16,}\.[\w-]{16,}/],
  ['a Hugging Face token', /\bhf_[A-Za-z]{30,}/],
  ['an npm token', /\bnpm_\w{36}/],
  ['a Vault token', /\bhv[sbr]\.[\w-]{20,}/],
  ['one of our API keys', /\bgsvk_[\w-]{16,}/],
  ['a JSON Web Token', /\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}/],
  ['a private key', /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/],
  ['a bearer token', /\bBearer [\w.~+/-]{20,}=*/],
];

/** `https://user:password@host`; a password that is a placeholder such as `{password}` is none. */
const URL_CREDENTIALS = /\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@"'{}]*:[^\s/@"'{}<>$]+@[^\s"']/i;

const SECRET_NAME =
  /(?:^|_)(?:api_?key|password|passwd|secret|secret_?key|access_?token|auth_?token|bearer_?token|private_?key|client_?secret|credentials?)$/i;

/** A global's name, as Langflow writes it into a field with `load_from_db`. */
const GLOBAL_NAME = /^[A-Za-z][A-Za-z0-9_ -]{0,127}$/;

/** A real export nests about 12 levels; deeper than this is not a flow. */
const MAX_DEPTH = 64;

/** Scans a parsed flow. An empty list = nothing found. Pure. */
export function scanFlow(flow: unknown): FlowFinding[] {
  const findings: FlowFinding[] = [];
  const nodes = nodesOf(flow);
  for (const node of nodes) scanTemplate(node, findings);
  const inNodes = new Set<unknown>(nodes);
  walk(flow, 'flow', '', 0, findings, inNodes);
  for (const node of nodes) walk(node, nodeId(node), '', 0, findings, new Set());
  return unique(findings);
}

/** One line for each finding, for a person at a terminal or in a condition. */
export function describeFindings(findings: readonly FlowFinding[]): string {
  return findings.map(({ node, field, message }) => `node ${node}, field ${field}: ${message}`).join('\n');
}

function nodesOf(flow: unknown): Json[] {
  const data = isObject(flow) && isObject(flow.data) ? flow.data : flow;
  return isObject(data) && Array.isArray(data.nodes) ? data.nodes.filter(isObject) : [];
}

function nodeId(node: Json): string {
  return typeof node.id === 'string' ? node.id : 'unnamed';
}

function scanTemplate(node: Json, findings: FlowFinding[]): void {
  const inner = isObject(node.data) && isObject(node.data.node) ? node.data.node : undefined;
  if (!isObject(inner?.template)) return;
  for (const [name, field] of Object.entries(inner.template)) {
    if (!isObject(field)) continue;
    const found = templateField(name, field);
    if (found) findings.push({ node: nodeId(node), field: name, ...found });
  }
}

function templateField(name: string, field: Json): Pick<FlowFinding, 'rule' | 'message'> | undefined {
  const secret = field.password === true || field._input_type === 'SecretStrInput';
  if (isEmpty(field.value)) return undefined;
  if (field.load_from_db === true) {
    if (typeof field.value === 'string' && GLOBAL_NAME.test(field.value)) return undefined;
    return {
      rule: 'secret-reference',
      message: 'load_from_db is set but the value is not the name of a global; put the name there',
    };
  }
  if (secret) {
    return {
      rule: 'secret-field',
      message: 'a value stands in a secret field; use a global (load_from_db) that a Capability provides',
    };
  }
  if (typeof field.value === 'string' && SECRET_NAME.test(name) && /^\S{8,}$/.test(field.value)) {
    return {
      rule: 'secret-name',
      message: 'the field is named like a secret and holds a value; use a global that a Capability provides',
    };
  }
  return undefined;
}

function walk(
  value: unknown,
  node: string,
  path: string,
  depth: number,
  findings: FlowFinding[],
  skip: Set<unknown>,
): void {
  if (depth > MAX_DEPTH) {
    findings.push({
      node,
      field: path,
      rule: 'too-deep',
      message: `nests deeper than ${MAX_DEPTH} levels and cannot be checked`,
    });
    return;
  }
  if (typeof value === 'string') {
    const found = textFinding(value);
    if (found) findings.push({ node, field: path || '/', ...found });
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      if (!skip.has(item)) walk(item, node, `${path}/${index}`, depth + 1, findings, skip);
    }
  } else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      const inKey = textFinding(key);
      if (inKey) findings.push({ node, field: `${path}/(key)`, ...inKey });
      if (!skip.has(item)) walk(item, node, `${path}/${key}`, depth + 1, findings, skip);
    }
  }
}

function textFinding(text: string): Pick<FlowFinding, 'rule' | 'message'> | undefined {
  if (URL_CREDENTIALS.test(text)) {
    return { rule: 'url-credentials', message: 'a URL carries a user and a password; take them out of the URL' };
  }
  const shape = TOKEN_SHAPES.find(([, pattern]) => pattern.test(text));
  return (
    shape && {
      rule: 'token-shape',
      message: `the text has the shape of ${shape[0]}; use a global that a Capability provides`,
    }
  );
}

/** The same field is seen by its template rule and by its shape; one line for it is enough. */
function unique(findings: FlowFinding[]): FlowFinding[] {
  const byTemplate = new Set(
    findings.filter(({ field }) => !field.startsWith('/')).map(({ node, field }) => `${node} ${field}`),
  );
  const inTemplate = /^\/data\/node\/template\/([^/]+)(?:\/|$)/;
  return findings.filter(({ node, field }) => {
    const name = inTemplate.exec(field)?.[1];
    return name === undefined || !byTemplate.has(`${node} ${name}`);
  });
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === false;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
