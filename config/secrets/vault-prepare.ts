/**
 * What an administrator sets up once on a Vault or OpenBao: pure, so that it can be read, printed as commands,
 * and done over HTTP alike.
 */
import { TENANT_POLICY } from '../secrets.ts';
import { checkMount, operatorPolicy, runnerPolicy, SESSION_TOKEN_ROLE, tenantPolicy } from './vault-policies.ts';

export interface Preparation {
  /** KV v2 mount. */
  mount: string;
  /** Mount of the Kubernetes auth method, below `auth/`. */
  authMount: string;
  /** Accessor of that mount, which the templated policy names. */
  accessor: string;
  /** Audience of the ServiceAccount tokens of operator, runner and workload namespaces. */
  audience: string;
  /** Namespace of our own processes. */
  systemNamespace: string;
}

export interface PreparationStep {
  /** One line for a person. */
  what: string;
  /** Below `/v1/`; written with POST. */
  path: string;
  body: Record<string, string | boolean | readonly string[]>;
}

/** A session outlives no run: the longest a contract may ask for is below this. */
const SESSION_MAX_TTL = '15m';
/** A process renews in the last third; a stolen token of it is of use for an hour at most. */
const PROCESS_TOKEN_TTL = '10m';
const PROCESS_TOKEN_MAX_TTL = '1h';

/** Policies of operator and runner, and the token role of sessions: all that works without Kubernetes logins. */
export function prepareTokens(facts: Omit<Preparation, 'accessor' | 'systemNamespace'>): PreparationStep[] {
  return [
    policy('gsv-operator', operatorPolicy(facts.mount, facts)),
    policy('gsv-runner', runnerPolicy(facts.mount)),
    {
      what: 'token role of the runner’s sessions: policies gsv-i-* and nothing else',
      path: `auth/token/roles/${SESSION_TOKEN_ROLE}`,
      body: {
        allowed_policies_glob: ['gsv-i-*'],
        orphan: true,
        renewable: false,
        token_no_default_policy: true,
        token_explicit_max_ttl: SESSION_MAX_TTL,
      },
    },
  ];
}

/** Kubernetes logins. Roles of workload namespaces are not among them: the operator writes one per Project. */
export function prepareLogins(facts: Preparation): PreparationStep[] {
  checkMount(facts.authMount);
  const login = (name: string): PreparationStep => ({
    what: `login of the ServiceAccount ${name}`,
    path: `auth/${facts.authMount}/role/${name}`,
    body: {
      bound_service_account_names: name,
      bound_service_account_namespaces: facts.systemNamespace,
      audience: facts.audience,
      token_policies: name,
      token_ttl: PROCESS_TOKEN_TTL,
      token_max_ttl: PROCESS_TOKEN_MAX_TTL,
    },
  });
  return [policy(TENANT_POLICY, tenantPolicy(facts.mount, facts.accessor)), login('gsv-operator'), login('gsv-runner')];
}

/** Everything, in the order in which it is written. */
export function preparation(facts: Preparation): PreparationStep[] {
  return [...prepareTokens(facts), ...prepareLogins(facts)];
}

function policy(name: string, text: string): PreparationStep {
  return { what: `policy ${name}`, path: `sys/policies/acl/${name}`, body: { policy: text } };
}

/** Stands for the accessor until the printed script has asked for it. */
const ACCESSOR_PLACE = 'gsv-accessor-placeholder';

/**
 * A shell script for a person with administrator's rights, without a token in it.
 * @param program `vault` or `bao`; both take the same words
 */
export function preparationScript(facts: Omit<Preparation, 'accessor'>, program: 'vault' | 'bao'): string {
  const steps = preparation({ ...facts, accessor: ACCESSOR_PLACE });
  return [
    '#!/bin/sh',
    `# Prepares ${program === 'bao' ? 'OpenBao' : 'Vault'} for the agent store. Repeatable: what is right already stays as it is.`,
    '# Mounts that it needs (not made here, because they may hold more than ours):',
    `#   ${program} secrets enable -path=${facts.mount} -version=2 kv`,
    `#   ${program} auth enable -path=${facts.authMount} kubernetes    and its auth/${facts.authMount}/config`,
    'set -eu',
    `accessor=$(${program} read -field=accessor sys/auth/${facts.authMount})`,
    '',
    ...steps.map((step) => command(step, program)),
  ].join('\n');
}

function command({ what, path, body }: PreparationStep, program: string): string {
  const json = JSON.stringify(body, null, 2);
  // The quoted delimiter keeps the shell out of the text; the accessor is put in by sed.
  const write = json.includes(ACCESSOR_PLACE)
    ? `sed "s/${ACCESSOR_PLACE}/$accessor/g" <<'JSON' | ${program} write ${path} -`
    : `${program} write ${path} - <<'JSON'`;
  return `# ${what}\n${write}\n${json}\nJSON\n`;
}
