import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js';
import { pointerToken } from './canonical.ts';
import { compileSchema } from './config-schema.ts';
import type { Contract, Violation } from './document.ts';

/** Config is part of a CR, a Git manifest and a run's body: larger than this is a document, not config. */
const MAX_CONFIG_BYTES = 65_536;
/** Deeper config is no configuration, and recursion over it must end. */
const MAX_CONFIG_DEPTH = 32;
/** More errors than this help nobody. */
const MAX_ERRORS = 50;

/** Shapes that well-known issuers give their credentials; each with enough length to be no ordinary word. */
const TOKEN_SHAPES: readonly RegExp[] = [
  /\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]{16,}/,
  /\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}/,
  /\bgh[pousr]_[A-Za-z0-9]{20,}/,
  /\bgithub_pat_[A-Za-z0-9_]{20,}/,
  /\bglpat-[A-Za-z0-9_-]{16,}/,
  /\bxox[abeoprs]-[A-Za-z0-9-]{10,}/,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/,
  /\bAIza[A-Za-z0-9_-]{30,}/,
  /\bhv[sbr]\.[A-Za-z0-9_-]{20,}/,
  /\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/,
  /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/,
  /\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*:[^\s/@]+@/i,
];

const validators = new WeakMap<Contract, ValidateFunction>();

/**
 * Checks a buyer's config against the contract: its JSON Schema, and that no secret stands in it
 * (neither under the name of a declared secret nor in the shape of a known token). Nothing of a value
 * is ever repeated in a message. An empty list means that the config may be used.
 */
export function validateConfig(contract: Contract, config: unknown): Violation[] {
  const tooLarge = checkSize(config);
  if (tooLarge) return [tooLarge];
  const names = new Set(contract.secrets.map((secret) => foldName(secret.name)));
  const secrets = findSecrets(config, '', names);
  // A secret under an undeclared key would be named twice, the second time as an unknown key.
  const hidden = new Set(secrets.map((each) => each.pointer));
  const validate = validatorOf(contract);
  if (validate(config)) return secrets;
  // An `if` only says that its `then` or `else` failed, which says so itself.
  const told = (validate.errors ?? []).filter((error) => error.keyword !== 'if');
  const errors = told.map(toViolation).filter((each) => !hidden.has(each.pointer));
  return [...secrets, ...errors].slice(0, MAX_ERRORS);
}

function validatorOf(contract: Contract): ValidateFunction {
  const known = validators.get(contract);
  if (known) return known;
  const validate = compileSchema(contract.config.schema);
  validators.set(contract, validate);
  return validate;
}

function checkSize(config: unknown): Violation | undefined {
  if (depthOf(config) > MAX_CONFIG_DEPTH) {
    const message = `The config is nested deeper than ${MAX_CONFIG_DEPTH} levels.`;
    return { pointer: '', rule: 'config_too_deep', message };
  }
  const text = JSON.stringify(config);
  if (text === undefined) return { pointer: '', rule: 'type', message: 'The config must be an object.' };
  if (Buffer.byteLength(text) <= MAX_CONFIG_BYTES) return undefined;
  const message = `The config has more than ${MAX_CONFIG_BYTES} bytes of JSON.`;
  return { pointer: '', rule: 'config_too_large', message };
}

function depthOf(value: unknown, level = 0): number {
  if (level > MAX_CONFIG_DEPTH || typeof value !== 'object' || value === null) return level;
  let deepest = level + 1;
  for (const child of Object.values(value)) deepest = Math.max(deepest, depthOf(child, level + 1));
  return deepest;
}

/** `apiKey`, `api-key` and `API_KEY` are the same name to a person. */
function foldName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.\s]/g, '');
}

export function looksLikeToken(text: string): boolean {
  return TOKEN_SHAPES.some((shape) => shape.test(text));
}

function findSecrets(value: unknown, pointer: string, names: ReadonlySet<string>): Violation[] {
  if (typeof value === 'string') {
    if (!looksLikeToken(value)) return [];
    const message = 'This looks like a credential: set it as a secret of the Instance, never in config.';
    return [{ pointer, rule: 'secret_in_config', message }];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    // A key can be a pasted token itself; then it is not repeated either.
    if (looksLikeToken(key)) {
      const message = 'A key of this object looks like a credential: remove it and revoke the credential.';
      return [{ pointer, rule: 'secret_in_config', message }];
    }
    const at = `${pointer}/${pointerToken(key)}`;
    if (Array.isArray(value) || !names.has(foldName(key))) return findSecrets(child, at, names);
    const message = `"${key}" is a secret of this contract: set it through the secrets of the Instance, not in config.`;
    return [{ pointer: at, rule: 'secret_in_config', message }];
  });
}

/** Ajv's error with the pointer of the offending key itself and a sentence made of the schema, never of the value. */
function toViolation(error: ErrorObject): Violation {
  const { instancePath, keyword, params } = error;
  const extra: unknown = params.additionalProperty ?? params.unevaluatedProperty ?? params.propertyName;
  if (typeof extra === 'string') {
    if (looksLikeToken(extra)) return { pointer: instancePath, rule: keyword, message: 'An unknown key stands here.' };
    const pointer = `${instancePath}/${pointerToken(extra)}`;
    return { pointer, rule: keyword, message: `"${extra}" is no key that this config knows.` };
  }
  if (typeof params.missingProperty === 'string') {
    const pointer = `${instancePath}/${pointerToken(params.missingProperty)}`;
    return { pointer, rule: keyword, message: `"${params.missingProperty}" is required.` };
  }
  if (Array.isArray(params.allowedValues)) {
    const message = `The value must be one of ${params.allowedValues.map((each) => JSON.stringify(each)).join(', ')}.`;
    return { pointer: instancePath, rule: keyword, message };
  }
  return { pointer: instancePath, rule: keyword, message: `The value ${error.message ?? `breaks "${keyword}"`}.` };
}
