import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import type { Rule, Schema } from './definitions.ts';

/** A rule that does not hold, and where. */
export interface Cause {
  /** Path of the field, e.g. `spec.plans[0].name`. */
  field: string;
  message: string;
}

interface Program {
  /** @throws when the expression cannot be computed for this value, e.g. for a missing field */
  run(self: unknown, oldSelf: unknown): boolean;
  /** It speaks of `oldSelf`: it holds for changes only. */
  transition: boolean;
}

/** Told of each rule that was evaluated; tests use it to prove that a fixture reaches its rule. */
export type Observer = (rule: Rule) => void;

const environment = new Environment().registerVariable('self', 'dyn').registerVariable('oldSelf', 'dyn');
const programs = new Map<string, Program>();

/** Compiles an expression once per process. @throws ParseError for what is not CEL */
export function program(expression: string): Program {
  const known = programs.get(expression);
  if (known !== undefined) return known;
  const parsed = environment.parse(expression);
  const compiled: Program = {
    run: (self, oldSelf) => parsed({ self, oldSelf }) === true,
    transition: identifiers(parsed.ast).has('oldSelf'),
  };
  programs.set(expression, compiled);
  return compiled;
}

/** Every node of an expression. */
export function* nodes(node: ASTNode): Generator<ASTNode> {
  yield node;
  yield* nested(node.args);
}

function* nested(args: unknown): Generator<ASTNode> {
  if (Array.isArray(args)) for (const arg of args) yield* nested(arg);
  else if (isNode(args)) yield* nodes(args);
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

function identifiers(ast: ASTNode): Set<string> {
  const found = new Set<string>();
  for (const node of nodes(ast)) if (node.op === 'id') found.add(node.args);
  return found;
}

/** Parses without evaluating, for checks of the rules themselves. */
export function syntaxOf(expression: string): ASTNode {
  return environment.parse(expression).ast;
}

const rulesBelow = new WeakMap<Schema, boolean>();

/** Most parts of an object carry no rule; this lets the walk leave them out. */
function hasRules(schema: Schema): boolean {
  const known = rulesBelow.get(schema);
  if (known !== undefined) return known;
  const found =
    (schema['x-kubernetes-validations'] ?? []).length > 0 ||
    Object.values(schema.properties ?? {}).some(hasRules) ||
    (schema.items !== undefined && hasRules(schema.items));
  rulesBelow.set(schema, found);
  return found;
}

/**
 * Evaluates the rules of a schema at every place of a value, as the API server does: rules about
 * changes only where an old value can be matched (never inside atomic lists and sets, whose items
 * have no identity; items of a `map` list are matched by their keys).
 *
 * @param value must already satisfy the schema
 * @param old the value before an update; undefined when there was none
 */
export function brokenRules(schema: Schema, value: unknown, old: unknown, path = '', observe?: Observer): Cause[] {
  const causes: Cause[] = [];
  walk(schema, value, old, path, causes, observe);
  return causes;
}

function walk(
  schema: Schema,
  value: unknown,
  old: unknown,
  path: string,
  causes: Cause[],
  observe: Observer | undefined,
): void {
  if (value === undefined || !hasRules(schema)) return;
  evaluate(schema, value, old, path, causes, observe);
  if (Array.isArray(value) && schema.items !== undefined) {
    for (const [index, item] of value.entries()) {
      walk(schema.items, item, itemBefore(schema, item, old), `${path}[${index}]`, causes, observe);
    }
  } else if (isRecord(value)) {
    for (const [name, child] of Object.entries(schema.properties ?? {})) {
      const before = isRecord(old) ? old[name] : undefined;
      walk(child, value[name], before, path === '' ? name : `${path}.${name}`, causes, observe);
    }
  }
}

function evaluate(
  schema: Schema,
  value: unknown,
  old: unknown,
  path: string,
  causes: Cause[],
  observe: Observer | undefined,
): void {
  const rules = schema['x-kubernetes-validations'] ?? [];
  if (rules.length === 0) return;
  const self = celValue(schema, value);
  const oldSelf = old === undefined ? undefined : celValue(schema, old);
  for (const rule of rules) {
    const { run, transition } = program(rule.rule);
    if (transition && oldSelf === undefined) continue;
    observe?.(rule);
    const failure = outcome(() => run(self, oldSelf));
    if (failure === undefined) continue;
    const field = `${path}${rule.fieldPath ?? ''}`.replace(/^\./, '');
    causes.push({ field, message: failure === '' ? rule.message : `${rule.message} (${failure})` });
  }
}

/** Undefined when the rule holds; else '' or why it could not be computed, which counts as broken. */
function outcome(run: () => boolean): string | undefined {
  try {
    return run() ? undefined : '';
  } catch (error) {
    return `the rule cannot be computed: ${(error as Error).message.split('\n')[0]}`;
  }
}

function itemBefore(schema: Schema, item: unknown, old: unknown): unknown {
  if (schema['x-kubernetes-list-type'] !== 'map' || !Array.isArray(old)) return undefined;
  const key = listKey(schema, item);
  return old.find((candidate) => listKey(schema, candidate) === key);
}

/** What identifies an item of a `map` list. */
export function listKey(schema: Schema, item: unknown): string {
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  return JSON.stringify(keys.map((key) => (isRecord(item) ? item[key] : undefined)));
}

/**
 * The value as the API server's CEL sees it: whole numbers are `int`, `date-time` strings are
 * timestamps, and lists of type `map` and `set` compare without regard to order (here: sorted).
 */
function celValue(schema: Schema, value: unknown): unknown {
  if (schema.type === 'integer' && typeof value === 'number') return BigInt(value);
  if (schema.format === 'date-time' && typeof value === 'string') return new Date(value);
  if (Array.isArray(value)) {
    const items = schema.items;
    if (items === undefined) return value;
    return inOrder(schema, value).map((item) => celValue(items, item));
  }
  if (isRecord(value) && schema.properties !== undefined) {
    const entries = Object.entries(value).filter(([, child]) => child !== undefined);
    return Object.fromEntries(
      entries.map(([name, child]) => {
        const property = schema.properties?.[name];
        return [name, property === undefined ? child : celValue(property, child)];
      }),
    );
  }
  return value;
}

function inOrder(schema: Schema, items: unknown[]): unknown[] {
  const type = schema['x-kubernetes-list-type'];
  if (type === 'map') return items.toSorted((a, b) => (listKey(schema, a) < listKey(schema, b) ? -1 : 1));
  if (type === 'set') return items.toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
  return items;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
