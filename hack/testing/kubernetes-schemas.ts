/**
 * The published schemas of the kinds that we render, read strictly. The packages' validators check types but, like
 * Kubernetes' own schemas, say nothing about a field that they do not know. They look at every field that they do
 * know, so an object that notes what was looked at finds the others.
 */
import { Application, AppProject } from '@kubernetes-models/argo-cd/argoproj.io/v1alpha1';
import { ExternalSecret, SecretStore } from '@kubernetes-models/external-secrets/external-secrets.io/v1';
import { Deployment } from 'kubernetes-models/apps/v1';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { Role, RoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1';
import { ConfigMap, LimitRange, Namespace, ResourceQuota, Service, ServiceAccount } from 'kubernetes-models/v1';

interface Model {
  apiVersion: string;
  kind: string;
  prototype: { validate(): void };
}

const MODELS = new Map<string, Model>(
  (
    [
      ...[AppProject, Application, ConfigMap, Deployment, ExternalSecret, LimitRange, Namespace, NetworkPolicy],
      ...[PodDisruptionBudget, ResourceQuota, Role, RoleBinding, SecretStore, Service, ServiceAccount],
    ] as unknown as Model[]
  ).map((model) => [`${model.apiVersion} ${model.kind}`, model]),
);

/** The package drops a field that is itself called `description` from what it validates; the field exists. */
const UNCHECKED = new Set(['AppProject /spec/description']);

/** Every field that the schema of its kind does not know, and what its validator says; empty for a valid object. */
export function schemaProblems(object: unknown): string[] {
  const { apiVersion, kind } = object as { apiVersion?: string; kind?: string };
  const model = MODELS.get(`${apiVersion} ${kind}`);
  if (model === undefined) return [`no schema for ${apiVersion} ${kind}`];
  const seen = new Set<string>();
  const problems: string[] = [];
  try {
    model.prototype.validate.call(noting(object, '', seen));
  } catch (error) {
    problems.push(`${kind}: ${(error as Error).message}`);
  }
  const unknown = pointers(object, '').filter((path) => !seen.has(path) && !UNCHECKED.has(`${kind} ${path}`));
  return [...problems, ...unknown.map((path) => `${kind}: unknown field ${path}`)];
}

function noting<T>(value: T, path: string, seen: Set<string>): T {
  if (value === null || typeof value !== 'object') return value;
  return new Proxy(value, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key);
      if (typeof key !== 'string' || !Object.hasOwn(target, key)) return member;
      const pointer = `${path}/${escaped(key)}`;
      seen.add(pointer);
      return noting(member, pointer, seen);
    },
  });
}

/** A JSON pointer to every member, at every depth. */
export function pointers(value: unknown, path: string): string[] {
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, member]) => {
    const pointer = `${path}/${escaped(key)}`;
    return [pointer, ...pointers(member, pointer)];
  });
}

function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
