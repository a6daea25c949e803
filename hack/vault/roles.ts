/** Roles of tokens and of Kubernetes logins: what they refuse and how they are read back, after OpenBao's `path_role`. */
import type { Reply } from './double.ts';
import { list, seconds } from './tokens.ts';

type Body = Record<string, unknown>;

export const ROLE_PATH = /^auth\/(token\/roles|kubernetes\/role)\/([^/]+)$/;

const LISTS = ['bound_service_account_names', 'bound_service_account_namespaces', 'token_policies'];
const DURATIONS = ['token_ttl', 'token_max_ttl', 'token_explicit_max_ttl'];

export function handleRole(roles: Map<string, Body>, kind: string, method: string, given: string, body: Body): Reply {
  const name = given.toLowerCase();
  const present = roles.get(name);
  if (method === 'GET')
    return present ? { status: 200, body: { data: present } } : { status: 404, body: { errors: [] } };
  if (method === 'DELETE') {
    roles.delete(name);
    return { status: 204 };
  }
  const next = stored({ ...(kind === 'kubernetes/role' ? UNSET : {}), ...present, ...body });
  const wrong = kind === 'kubernetes/role' ? refusalOf(next) : undefined;
  if (wrong !== undefined) return { status: 400, body: { errors: [wrong] } };
  roles.set(name, next);
  return { status: 204 };
}

/** What a role shows of what nobody said. */
const UNSET: Body = {
  alias_name_source: 'serviceaccount_uid',
  bound_service_account_namespace_selector: '',
  token_bound_cidrs: [],
  token_explicit_max_ttl: 0,
  token_no_default_policy: false,
  token_num_uses: 0,
  token_period: 0,
  token_type: 'default',
};

/** Text is split into lists, and durations become seconds. */
function stored(body: Body): Body {
  const out = { ...body };
  for (const name of LISTS) if (out[name] !== undefined) out[name] = list(out[name]);
  for (const name of DURATIONS) if (out[name] !== undefined) out[name] = seconds(out[name], 0);
  return out;
}

function refusalOf(role: Body): string | undefined {
  const names = list(role.bound_service_account_names);
  const namespaces = list(role.bound_service_account_namespaces);
  if (Number(role.token_max_ttl ?? 0) > 0 && Number(role.token_ttl ?? 0) > Number(role.token_max_ttl))
    return "'token_ttl' cannot be greater than 'token_max_ttl'";
  if (names.length === 0) return '"bound_service_account_names" can not be empty';
  if (namespaces.length === 0)
    return '"bound_service_account_namespaces" can not be empty if "bound_service_account_namespace_selector" is not set';
  if ([names, namespaces].some((each) => each.length > 1 && each.includes('*'))) return 'can not mix "*" with values';
  return undefined;
}
