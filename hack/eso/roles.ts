import { parse } from 'yaml';

/** Where its chart would install it. */
export const EXTERNAL_SECRETS = { namespace: 'external-secrets', account: 'external-secrets' };
/** The controller's own role; those for people, for service bindings and for the election of a leader follow it. */
const CONTROLLER_RULES = /^kind: ClusterRole$[\s\S]*?-controller$[\s\S]*?(^rules:$[\s\S]*?)^---$/m;
/** Line of a template that is not text. */
const ACTION = /^\s*\{\{-? (if |end )?.*\}\}$/;
const CONDITION = /\{\{-? if (\S+) \}\}/g;

/**
 * The rights of External Secrets, as its Helm chart grants them when nobody changes a value, with the account that
 * holds them; one JSON document each.
 *
 * @param template `templates/rbac.yaml` of the chart
 * @param values `values.yaml` of the chart
 * @throws Error when the template is not of the kind that needs no Helm: rules between conditions that hold
 */
export function externalSecretsRoles(template: string, values: string): string[] {
  const rules = rulesOf(template);
  for (const [, condition = ''] of rules.matchAll(CONDITION))
    if (defaultOf(values, condition) !== true) throw new Error(`the chart's role depends on ${condition}`);
  const text = rules
    .split('\n')
    .filter((line) => !ACTION.test(line))
    .join('\n');
  const { namespace, account } = EXTERNAL_SECRETS;
  const group = 'rbac.authorization.k8s.io';
  const apiVersion = `${group}/v1`;
  const metadata = { name: 'external-secrets-controller' };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: account, namespace } },
    { apiVersion, kind: 'ClusterRole', metadata, ...(parse(text) as { rules: unknown[] }) },
    {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata,
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
    },
  ].map((object) => JSON.stringify(object));
}

function rulesOf(template: string): string {
  // The kind stands in the `else` of a namespaced installation.
  const rules = CONTROLLER_RULES.exec(
    template.replace(/\r/g, '').replace(/ *\{\{ include "[^"]*fullname" \. \}\}/g, ''),
  );
  if (rules?.[1] === undefined) throw new Error('the chart has no role of the controller where it had one');
  return rules[1];
}

/** @param path `.Values.a.b` */
function defaultOf(values: string, path: string): unknown {
  const names = path.replace(/^\.Values\./, '').split('.');
  return names.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], parse(values));
}
