import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { GROUP, KINDS, type Kind, type OwnKind } from './kinds.ts';

export type { OwnKind } from './kinds.ts';

/** One entry of `x-kubernetes-validations`. */
export interface Rule {
  /** CEL over `self`, and over `oldSelf` for a rule about a change. */
  rule: string;
  /** Says what is wrong and what to write. */
  message: string;
  /** The field to blame, relative to the rule's place, e.g. `.version`. */
  fieldPath?: string;
}

/** The part of a Kubernetes structural schema that our CRDs use. */
export interface Schema {
  type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: string[];
  pattern?: string;
  format?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  default?: unknown;
  'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-validations'?: Rule[];
}

/** A CustomResourceDefinition as it stands in `crds/*.yaml`. */
export interface Definition {
  metadata: { name: string };
  spec: {
    group: string;
    scope: 'Cluster' | 'Namespaced';
    names: { kind: string; plural: string; singular: string; shortNames: string[]; categories: string[] };
    versions: {
      name: string;
      schema: { openAPIV3Schema: Schema };
      subresources?: { status?: object };
      selectableFields?: { jsonPath: string }[];
      additionalPrinterColumns?: { name: string; type: string; jsonPath: string; priority?: number }[];
    }[];
  };
}

/** True for a kind that one of our CRDs defines, as opposed to those of others that the store carries. */
export function isOwnKind(kind: Kind): kind is OwnKind {
  return KINDS[kind].apiVersion.startsWith(`${GROUP}/`);
}

/** Every kind that has a CRD, in the order of the registry. */
export const OWN_KINDS: readonly OwnKind[] = (Object.keys(KINDS) as Kind[]).filter(isOwnKind);

const loaded = new Map<OwnKind, Definition>();

/** Reads the CRD of a kind, once per process. Nobody may change what it returns. */
export function definitionOf(kind: OwnKind): Definition {
  const known = loaded.get(kind);
  if (known !== undefined) return known;
  const file = new URL(`./${GROUP}_${KINDS[kind].plural}.yaml`, import.meta.url);
  const definition = parse(readFileSync(file, 'utf8')) as Definition;
  loaded.set(kind, definition);
  return definition;
}

/** The schema of the one version that we serve. */
export function schemaOf(kind: OwnKind): Schema {
  const version = definitionOf(kind).spec.versions[0];
  if (version === undefined) throw new Error(`the CRD of ${kind} has no version`);
  return version.schema.openAPIV3Schema;
}
