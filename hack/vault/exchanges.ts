/** One table of requests, happy and refused, which a real server and the double must answer alike. */

export interface Exchange {
  reason: string;
  /** Whose token is sent: one of those prepared, or one kept from an answer before. */
  as: string;
  /** `LIST` is sent as our client does, with `?list=true`. */
  method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'LIST';
  path: string;
  body?: Record<string, unknown>;
  /** Keeps the token of the answer under this name. */
  keep?: string;
}

type Row = [
  as: string,
  method: Exchange['method'],
  path: string,
  body: Record<string, unknown> | undefined,
  reason: string,
  keep?: string,
];

const A = 't/gsv-w-a/uid/a';
const role = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  bound_service_account_names: 'project-secrets',
  bound_service_account_namespaces: 'gsv-w-a',
  audience: 'vault',
  token_policies: 'gsv-tenant',
  token_ttl: '10m',
  token_max_ttl: '30m',
  ...more,
});
const session = (policies: unknown, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  policies,
  ttl: '60s',
  renewable: false,
  no_default_policy: true,
  ...more,
});

const SECRETS: Row[] = [
  ['root', 'GET', `secret/data/${A}`, undefined, 'a secret that is not there'],
  ['root', 'GET', `secret/metadata/${A}`, undefined, 'its metadata'],
  ['root', 'DELETE', `secret/metadata/${A}`, undefined, 'destroying it'],
  ['root', 'LIST', 'secret/metadata/t', undefined, 'a folder that is not there'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: 1 }, data: { value: 'x' } }, 'a version that is not there'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: 0 }, data: { value: 'one' } }, 'the first version'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: 0 }, data: { value: 'x' } }, 'the first version again'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: '1' }, data: { value: 'two' } }, 'a version as text'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: 'x' }, data: { value: 'x' } }, 'a version that is no number'],
  ['root', 'POST', `secret/data/${A}`, { options: {}, data: { value: 'three' } }, 'no version named'],
  ['root', 'PUT', `secret/data/${A}`, { data: { value: 'four' } }, 'PUT is POST'],
  ['root', 'POST', `secret/data/${A}`, {}, 'no data'],
  ['root', 'POST', `secret/data/${A}`, { data: 'text' }, 'data that is no object'],
  ['root', 'POST', `secret/data/${A}`, { data: null }, 'data that is null'],
  ['root', 'GET', `secret/data/${A}`, undefined, 'the present version'],
  ['root', 'GET', `secret/metadata/${A}`, undefined, 'all its versions'],
  ['root', 'LIST', 'secret/metadata/t/gsv-w-a/uid', undefined, 'a folder'],
  ['root', 'LIST', 'secret/metadata/t/gsv-w-a/uid/', undefined, 'a folder with its slash'],
  ['root', 'LIST', 'secret/metadata/t', undefined, 'a folder of folders'],
  ['root', 'LIST', `secret/metadata/${A}`, undefined, 'a secret is no folder'],
  ['root', 'POST', `secret/delete/${A}`, { versions: [5] }, 'deleting the latest version'],
  ['root', 'GET', `secret/data/${A}`, undefined, 'a deleted version'],
  ['root', 'GET', `secret/metadata/${A}`, undefined, 'a deleted version among others'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: 0 }, data: { value: 'x' } }, 'deleted still counts'],
  ['root', 'POST', `secret/destroy/${A}`, { versions: [5] }, 'destroying the latest version'],
  ['root', 'GET', `secret/data/${A}`, undefined, 'a destroyed version'],
  ['root', 'GET', `secret/metadata/${A}`, undefined, 'a destroyed version among others'],
  ['root', 'POST', `secret/data/${A}`, { options: { cas: 5 }, data: { value: 'six' } }, 'after a destroyed one'],
  ['root', 'DELETE', `secret/data/${A}`, undefined, 'deleting whatever is latest'],
  ['root', 'GET', `secret/data/${A}`, undefined, 'and it is gone'],
  ['root', 'POST', `secret/destroy/${A}`, {}, 'destroying no version'],
  ['root', 'POST', `secret/delete/${A}`, {}, 'deleting no version'],
  ['root', 'POST', 'secret/destroy/t/gsv-w-a/uid/none', { versions: [1] }, 'destroying what is not there'],
  ['root', 'DELETE', 'secret/data/t/gsv-w-a/uid/none', undefined, 'deleting what is not there'],
  ['root', 'POST', 'secret/metadata/t/gsv-w-a/uid/b', { cas_required: true }, 'metadata before any version'],
  ['root', 'GET', 'secret/metadata/t/gsv-w-a/uid/b', undefined, 'metadata without a version'],
  ['root', 'GET', 'secret/data/t/gsv-w-a/uid/b', undefined, 'data without a version'],
  ['root', 'POST', 'secret/data/t/gsv-w-a/uid/b', { data: { value: 'x' } }, 'one that wants its version named'],
  ['root', 'POST', 'secret/data/t/gsv-w-a/uid/b', { options: { cas: 0 }, data: { value: 'b' } }, 'named'],
  ['root', 'POST', 'secret/config', { cas_required: true }, 'a mount that wants versions named'],
  ['root', 'POST', 'secret/data/t/gsv-w-a/uid/c', { data: { value: 'x' } }, 'not named'],
  ['root', 'POST', 'secret/data/t/gsv-w-a/uid/c', { options: { cas: 0 }, data: { value: 'c' } }, 'named'],
  ['root', 'POST', 'secret/config', { cas_required: false }, 'and no longer'],
  ...Array.from({ length: 12 }, (_, index): Row => {
    return ['root', 'POST', 'secret/data/t/gsv-w-a/uid/many', { data: { value: `v${index}` } }, `version ${index + 1}`];
  }),
  ['root', 'GET', 'secret/metadata/t/gsv-w-a/uid/many', undefined, 'the ten versions that are kept'],
  ['root', 'DELETE', `secret/metadata/${A}`, undefined, 'destroying a whole secret'],
  ['root', 'GET', `secret/metadata/${A}`, undefined, 'nothing is left'],
  ['root', 'GET', 'elsewhere/data/a', undefined, 'a mount that is not there'],
  ['root', 'POST', 'elsewhere/data/a', { data: {} }, 'writing there'],
  ['root', 'LIST', 'elsewhere/metadata/a', undefined, 'listing there'],
  ['root', 'DELETE', 'elsewhere/metadata/a', undefined, 'destroying there'],
];

const TOKENS: Row[] = [
  ['none', 'GET', `secret/data/${A}`, undefined, 'no token'],
  ['unknown', 'GET', `secret/data/${A}`, undefined, 'a token nobody made'],
  ['unknown', 'GET', 'auth/token/lookup-self', undefined, 'a token nobody made looks at itself'],
  ['unknown', 'POST', 'auth/token/renew-self', {}, 'a token nobody made renews itself'],
  ['root', 'GET', 'auth/token/lookup-self', undefined, 'root looks at itself'],
  ['root', 'POST', 'auth/token/renew-self', {}, 'root renews itself'],
  ['operator', 'GET', 'auth/token/lookup-self', undefined, 'a token looks at itself'],
  ['operator', 'POST', 'auth/token/renew-self', {}, 'a token renews itself'],
  ['operator', 'POST', 'auth/token/create', session(['gsv-operator']), 'the operator makes no token'],
  ['runner', 'POST', 'auth/token/create', session(['gsv-runner']), 'the runner makes no token without its role'],
  ['root', 'POST', 'sys/policies/acl/gsv-i-1', { policy: policy('read') }, 'a policy'],
  ['runner', 'POST', 'auth/token/create/gsv-run', session(['gsv-i-1']), 'a session', 'session'],
  ['session', 'GET', 'secret/data/t/gsv-w-a/uid/c', undefined, 'reads what its policy names'],
  ['session', 'GET', 'secret/data/t/gsv-w-a/uid/none', undefined, 'reads what is not there'],
  ['session', 'GET', 'secret/data/t/gsv-w-b/uid/c', undefined, 'reads nothing else'],
  ['session', 'GET', 'secret/metadata/t/gsv-w-a/uid/c', undefined, 'not metadata'],
  ['session', 'LIST', 'secret/metadata/t/gsv-w-a/uid', undefined, 'lists nothing'],
  ['session', 'POST', 'secret/data/t/gsv-w-a/uid/c', { data: {} }, 'writes nothing'],
  ['session', 'GET', 'auth/token/lookup-self', undefined, 'has no default policy'],
  ['session', 'POST', 'auth/token/renew-self', {}, 'nor renews itself'],
  ['runner', 'POST', 'auth/token/create/gsv-run', session(['gsv-i-none']), 'a policy that is not there'],
  ['runner', 'POST', 'auth/token/create/gsv-run', session(['gsv-i-1', 'gsv-i-none']), 'one of two is not there'],
  ['runner', 'POST', 'auth/token/create/gsv-run', session(['gsv-operator']), 'a policy that the role does not admit'],
  ['runner', 'POST', 'auth/token/create/gsv-run', session(['root']), 'root'],
  ['runner', 'POST', 'auth/token/create/gsv-run', session(['gsv-i-1'], { ttl: '2h' }), 'a life beyond the role’s'],
  ['runner', 'POST', 'auth/token/create/gsv-none', session(['gsv-i-1']), 'another role'],
  ['root', 'POST', 'auth/token/create/gsv-none', session(['gsv-i-1']), 'a role that is not there'],
  ['root', 'POST', 'sys/policies/acl/gsv-i-1', { policy: policy('create') }, 'the policy changes'],
  ['session', 'GET', 'secret/data/t/gsv-w-a/uid/c', undefined, 'and the session with it'],
  ['session', 'POST', 'secret/data/t/gsv-w-a/uid/new', { data: { value: 'x' } }, 'create is the first version'],
  ['session', 'POST', 'secret/data/t/gsv-w-a/uid/new', { data: { value: 'x' } }, 'and no later one'],
  ['root', 'DELETE', 'sys/policies/acl/gsv-i-1', undefined, 'the policy goes'],
  ['session', 'POST', 'secret/data/t/gsv-w-a/uid/new2', { data: {} }, 'and all rights with it'],
  ['root', 'POST', 'auth/token/create', { policies: ['gsv-operator'], ttl: '10m' }, 'a token to revoke', 'revoked'],
  ['revoked', 'POST', 'auth/token/revoke-self', {}, 'revokes itself'],
  ['revoked', 'GET', 'secret/metadata/t/a/b/c', undefined, 'and is nobody'],
  ['root', 'POST', 'auth/token/create', { policies: ['gsv-operator'], ttl: '10m', renewable: false }, 'rigid', 'rigid'],
  ['rigid', 'POST', 'auth/token/renew-self', {}, 'a token that is not renewable'],
];

const POLICIES: Row[] = [
  ['root', 'GET', 'sys/policies/acl/gsv-i-2', undefined, 'a policy that is not there'],
  ['root', 'DELETE', 'sys/policies/acl/gsv-i-2', undefined, 'is deleted without complaint'],
  ['operator', 'POST', 'sys/policies/acl/gsv-i-2', { policy: policy('read') }, 'the operator writes an Instance’s'],
  ['operator', 'POST', 'sys/policies/acl/GSV-I-3', { policy: policy('read') }, 'a name in capitals'],
  ['root', 'GET', 'sys/policies/acl/gsv-i-2', undefined, 'a policy as it was written'],
  ['operator', 'GET', 'sys/policies/acl/gsv-i-2', undefined, 'the operator reads an Instance’s'],
  ['operator', 'GET', 'sys/policies/acl/gsv-tenant', undefined, 'and nobody else’s'],
  ['operator', 'LIST', 'sys/policies/acl', undefined, 'the operator sees their names'],
  ['runner', 'LIST', 'sys/policies/acl', undefined, 'the runner does not'],
  ['operator', 'POST', 'sys/policies/acl/gsv-tenant', { policy: '' }, 'not the tenants’'],
  ['operator', 'POST', 'sys/policies/acl/gsv-operator', { policy: '' }, 'not its own'],
  ['root', 'POST', 'sys/policies/acl/gsv-i-2', { policy: 'path "a" {' }, 'text that cannot be parsed'],
  ['root', 'POST', 'sys/policies/acl/gsv-i-2', { policy: 'path "a" { capabilities = ["fly"] }' }, 'no capability'],
  ['root', 'POST', 'sys/policies/acl/gsv-i-2', { policy: 'path "a/+*" { capabilities = ["read"] }' }, 'a wildcard'],
  ['operator', 'DELETE', 'sys/policies/acl/gsv-i-2', undefined, 'the operator deletes an Instance’s'],
];

const RIGHTS: Row[] = [
  ['operator', 'POST', 'secret/data/t/gsv-w-a/uid/o', { data: { value: 'o' } }, 'the operator writes'],
  ['operator', 'GET', 'secret/data/t/gsv-w-a/uid/o', undefined, 'and reads no value'],
  ['operator', 'GET', 'secret/metadata/t/gsv-w-a/uid/o', undefined, 'but metadata'],
  ['operator', 'LIST', 'secret/metadata/t/gsv-w-a', undefined, 'and folders'],
  ['operator', 'LIST', 'secret/metadata/t', undefined, 'and the folder of all'],
  ['operator', 'LIST', 'secret/metadata', undefined, 'but not what is above'],
  ['operator', 'POST', 'secret/metadata/t/gsv-w-a/uid/o', { max_versions: 1 }, 'and changes no metadata'],
  ['operator', 'POST', 'secret/destroy/t/gsv-w-a/uid/o', { versions: [1] }, 'but destroys versions'],
  ['operator', 'POST', 'secret/delete/t/gsv-w-a/uid/o', { versions: [1] }, 'does not merely delete them'],
  ['operator', 'POST', 'secret/data/platform/a', { data: {} }, 'nor writes elsewhere'],
  ['operator', 'DELETE', 'secret/metadata/t/gsv-w-a/uid/o', undefined, 'and destroys'],
  ['operator', 'GET', 'elsewhere/metadata/a', undefined, 'a mount that is not there, without rights'],
  ['runner', 'POST', 'secret/data/t/gsv-w-a/uid/r', { data: { value: 'r' } }, 'the runner writes'],
  ['runner', 'GET', 'secret/data/t/gsv-w-a/uid/r', undefined, 'and reads no value'],
  ['runner', 'GET', 'secret/metadata/t/gsv-w-a/uid/r', undefined, 'nor metadata'],
  ['runner', 'LIST', 'secret/metadata/t', undefined, 'nor lists'],
  ['runner', 'POST', 'secret/destroy/t/gsv-w-a/uid/r', { versions: [1] }, 'nor destroys versions'],
  ['runner', 'DELETE', 'secret/metadata/t/gsv-w-a/uid/r', undefined, 'nor destroys'],
];

const ROLE = 'auth/kubernetes/role/gsv-w-a';
const ROLES: Row[] = [
  ['operator', 'GET', ROLE, undefined, 'a role that is not there'],
  ['operator', 'DELETE', ROLE, undefined, 'is deleted without complaint'],
  ['operator', 'LIST', 'auth/kubernetes/role', undefined, 'the names of roles'],
  ['operator', 'POST', ROLE, role(), 'a role of a workload namespace'],
  ['operator', 'GET', ROLE, undefined, 'as it was written'],
  ['operator', 'POST', ROLE, role(), 'again'],
  ['operator', 'POST', ROLE, role({ token_policies: 'gsv-operator' }), 'another policy'],
  ['operator', 'POST', ROLE, role({ token_policies: ['gsv-tenant'] }), 'a list whose members are allowed'],
  ['operator', 'POST', ROLE, role({ token_policies: ['gsv-tenant', 'gsv-operator'] }), 'a list with another'],
  ['operator', 'POST', ROLE, role({ token_policies: 'gsv-tenant,gsv-operator' }), 'the same as text'],
  ['operator', 'POST', ROLE, role({ bound_service_account_names: '*' }), 'any account'],
  ['operator', 'POST', ROLE, role({ bound_service_account_namespaces: '*' }), 'any namespace'],
  // The pattern ends with `*`, so what follows a comma is allowed. It is of no use: the templated policy
  // opens to a login what lies below its own namespace, wherever the role admits it.
  ['operator', 'POST', ROLE, role({ bound_service_account_namespaces: 'gsv-w-*,kube-system' }), 'one more behind'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a', jwt: '{neighbour-jwt}' }, 'a pattern', 'neighbour'],
  ['neighbour', 'GET', 'secret/data/t/gsv-w-a/uid/c', undefined, 'and still no secret of a neighbour'],
  ['operator', 'POST', ROLE, role(), 'as it should be'],
  ['operator', 'POST', ROLE, role({ token_ttl: '24h' }), 'a longer life'],
  ['operator', 'POST', ROLE, { token_period: '1h' }, 'a parameter that is not named'],
  ['operator', 'POST', 'auth/kubernetes/role/gsv-operator', role(), 'the role of a process'],
  ['root', 'POST', 'auth/kubernetes/role/gsv-w-x', { audience: 'vault' }, 'a role without bounds'],
  ['root', 'POST', 'auth/kubernetes/role/gsv-w-x', role({ token_ttl: '1h' }), 'a life beyond its longest'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a', jwt: '{tenant-jwt}' }, 'a login', 'tenant'],
  ['tenant', 'GET', 'secret/data/t/gsv-w-a/uid/c', undefined, 'a tenant reads its own'],
  ['tenant', 'GET', 'secret/metadata/t/gsv-w-a/uid/c', undefined, 'and its metadata'],
  ['tenant', 'GET', 'secret/data/t/gsv-w-ab/uid/c', undefined, 'no neighbour’s'],
  ['tenant', 'LIST', 'secret/metadata/t/gsv-w-a', undefined, 'lists nothing'],
  ['tenant', 'GET', 'auth/token/lookup-self', undefined, 'looks at itself'],
  ['tenant', 'POST', 'auth/token/renew-self', {}, 'renews itself'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-none', jwt: '{tenant-jwt}' }, 'a role that is not there'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-operator', jwt: '{tenant-jwt}' }, 'the role of another'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a', jwt: '{neighbour-jwt}' }, 'another namespace'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a', jwt: '{api-jwt}' }, 'another audience'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a', jwt: 'x.y.z' }, 'no token at all'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a' }, 'nothing'],
  ['none', 'POST', 'auth/kubernetes/login', { jwt: '{tenant-jwt}' }, 'no role named'],
  ['operator', 'DELETE', ROLE, undefined, 'the operator deletes it'],
  ['tenant', 'GET', 'secret/data/t/gsv-w-a/uid/c', undefined, 'a token lives on'],
  ['none', 'POST', 'auth/kubernetes/login', { role: 'gsv-w-a', jwt: '{tenant-jwt}' }, 'and no new one is made'],
];

function policy(capability: string): string {
  return `path "secret/data/t/gsv-w-a/uid/*" {\n  capabilities = ["${capability}"]\n}\n`;
}

/** In the order in which they are sent: later ones meet what earlier ones left. */
export const EXCHANGES: Exchange[] = [...SECRETS, ...TOKENS, ...POLICIES, ...RIGHTS, ...ROLES].map(
  ([as, method, path, body, reason, keep]) => ({
    as,
    method,
    path,
    reason,
    ...(body === undefined ? {} : { body }),
    ...(keep === undefined ? {} : { keep }),
  }),
);
