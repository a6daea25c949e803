import {
  imageByDigest,
  minutes,
  oneOf,
  placeholder,
  port,
  secret,
  signingKey,
  text,
  url,
  urlList,
} from './setting-parsers.ts';

/** The processes that read settings. */
export type ProcessName = 'ledger' | 'operator' | 'gateway' | 'runner' | 'quickstart';

/** One setting: where it comes from, who reads it and what it means. */
export interface Definition<T> {
  env: string;
  /** Which processes read it. */
  used: readonly ProcessName[];
  doc: string;
  /** Throws a `TypeError` whose message completes the sentence "<ENV> …". */
  parse: (text: string) => T;
  fallback?: T;
  fallbackDoc?: string;
}

/** Every setting of every process, in the order of `docs/settings.md`, which is generated from it. */
export const CATALOGUE = {
  dataDir: {
    env: 'GSV_DATA_DIR',
    used: ['quickstart', 'ledger', 'operator'],
    doc: 'Folder of the embedded defaults, and of the operator’s copy of the Git repository, which may be lost at any time. Running as root, PostgreSQL keeps its part where its unprivileged user can enter.',
    parse: text,
    fallback: '.data',
  },
  logLevel: {
    env: 'GSV_LOG_LEVEL',
    used: ['ledger', 'operator', 'gateway', 'runner', 'quickstart'],
    doc: 'Least level of the log lines on standard error.',
    parse: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal'),
    fallback: 'info' as const,
  },
  opsPort: {
    env: 'GSV_OPS_PORT',
    used: ['ledger', 'operator', 'gateway', 'runner'],
    doc: 'Serves `/livez`, `/readyz` and `/metrics`. 0 = off.',
    parse: port,
    fallback: 0,
  },
  opsHost: {
    env: 'GSV_OPS_HOST',
    used: ['ledger', 'operator', 'gateway', 'runner'],
    doc: 'Address that the ops port listens on; `0.0.0.0` in a cluster, where the kubelet probes it.',
    parse: text,
    fallback: '127.0.0.1',
  },
  ledgerPort: {
    env: 'GSV_LEDGER_PORT',
    used: ['ledger', 'quickstart'],
    doc: 'Port of the ledger; 0 = a free one, named in the first log line.',
    parse: port,
    fallback: 7101,
  },
  ledgerHost: {
    env: 'GSV_LEDGER_HOST',
    used: ['ledger'],
    doc: 'Address that the ledger listens on.',
    parse: text,
    fallback: '127.0.0.1',
  },
  ledgerDatabaseUrl: {
    env: 'GSV_LEDGER_DATABASE_URL',
    used: ['ledger'],
    doc: 'PostgreSQL 15 or newer; absent = an embedded one in the data folder; `sslmode=require` checks the certificate.',
    parse: url,
  },
  ledgerTokensFile: {
    env: 'GSV_LEDGER_TOKENS_FILE',
    used: ['ledger'],
    doc: 'JSON file `{"<token>": ["<scope>", …]}`, re-read when it changes.',
    parse: text,
  },
  ledgerToken: {
    env: 'GSV_LEDGER_TOKEN',
    used: ['ledger', 'operator', 'gateway', 'runner'],
    doc: 'Ledger: one token with all scopes, for development. Others: the token they present.',
    parse: secret,
  },
  openmeterUrl: {
    env: 'GSV_OPENMETER_URL',
    used: ['ledger'],
    doc: 'OpenMeter that is told of usage, without `/api/v1`; absent = nothing is sent.',
    parse: url,
  },
  openmeterToken: {
    env: 'GSV_OPENMETER_TOKEN',
    used: ['ledger'],
    doc: 'Bearer token of a hosted OpenMeter; a self-hosted one has none and belongs behind the mesh.',
    parse: secret,
  },
  ledgerUrl: {
    env: 'GSV_LEDGER_URL',
    used: ['operator', 'gateway', 'runner'],
    doc: 'Where the ledger answers.',
    parse: url,
  },
  gatewayPort: {
    env: 'GSV_GATEWAY_PORT',
    used: ['gateway', 'quickstart'],
    doc: 'Port of the edge.',
    parse: port,
    fallback: 7100,
  },
  gatewayHost: {
    env: 'GSV_GATEWAY_HOST',
    used: ['gateway'],
    doc: 'Address that the edge listens on.',
    parse: text,
    fallback: '127.0.0.1',
  },
  gatewayRole: {
    env: 'GSV_GATEWAY_ROLE',
    used: ['gateway'],
    doc: 'Which half of the edge this process serves.',
    parse: oneOf('all', 'run', 'api'),
    fallback: 'all' as const,
  },
  publicUrl: {
    env: 'GSV_PUBLIC_URL',
    used: ['gateway', 'operator'],
    doc: 'How buyers reach the edge; the base of `status.url` and of OAuth resource metadata.',
    parse: url,
  },
  runnerPort: {
    env: 'GSV_RUNNER_PORT',
    used: ['runner', 'quickstart'],
    doc: 'Port of the runner.',
    parse: port,
    fallback: 7102,
  },
  runnerHost: {
    env: 'GSV_RUNNER_HOST',
    used: ['runner'],
    doc: 'Address that the runner listens on.',
    parse: text,
    fallback: '127.0.0.1',
  },
  runnerUrl: { env: 'GSV_RUNNER_URL', used: ['gateway', 'operator'], doc: 'Where the runner answers.', parse: url },
  ticketKey: {
    env: 'GSV_TICKET_KEY',
    used: ['gateway', 'runner'],
    doc: 'Key that signs run tickets from edge to runner.',
    parse: signingKey,
  },
  runnerProbeKey: {
    env: 'GSV_RUNNER_PROBE_KEY',
    used: ['operator', 'runner'],
    doc: 'Bearer key of the operator for the probe.',
    parse: secret,
  },
  oidcIssuer: {
    env: 'GSV_OIDC_ISSUER',
    used: ['gateway', 'operator'],
    doc: 'Issuer of the tokens that the edge accepts; for the operator, whose people Kubernetes knows.',
    parse: url,
  },
  oidcAudience: {
    env: 'GSV_OIDC_AUDIENCE',
    used: ['gateway'],
    doc: 'Audience that a token must name.',
    parse: text,
    fallback: 'gsv-gateway',
  },
  oidcClientId: { env: 'GSV_OIDC_CLIENT_ID', used: ['gateway'], doc: 'Client of the browser login.', parse: text },
  oidcClientSecret: { env: 'GSV_OIDC_CLIENT_SECRET', used: ['gateway'], doc: 'Secret of that client.', parse: secret },
  resources: {
    env: 'GSV_RESOURCES',
    used: ['operator', 'gateway', 'runner'],
    doc: 'Where the custom resources live; `embedded` is the quickstart’s own and refused elsewhere.',
    parse: oneOf('kubernetes', 'embedded'),
    fallback: 'kubernetes' as const,
  },
  gitRemote: { env: 'GSV_GIT_REMOTE', used: ['operator'], doc: 'Repository that Argo CD reads.', parse: text },
  gitBranch: { env: 'GSV_GIT_BRANCH', used: ['operator'], doc: 'Branch of it.', parse: text, fallback: 'main' },
  gitCredentialsFile: {
    env: 'GSV_GIT_CREDENTIALS_FILE',
    used: ['operator'],
    doc: 'File in the format of `git credential-store`.',
    parse: text,
  },
  gitSshKeyFile: {
    env: 'GSV_GIT_SSH_KEY_FILE',
    used: ['operator'],
    doc: 'Private key for an SSH remote, without a passphrase; absent = those that ssh finds by itself.',
    parse: text,
  },
  gitSshKnownHostsFile: {
    env: 'GSV_GIT_SSH_KNOWN_HOSTS_FILE',
    used: ['operator'],
    doc: 'Keys of SSH hosts as in `known_hosts`; a host that is not in it is refused. Absent = the files that ssh reads by itself.',
    parse: text,
  },
  delivery: {
    env: 'GSV_DELIVERY',
    used: ['operator'],
    doc: 'Who applies the commits.',
    parse: oneOf('argocd', 'local'),
    fallback: 'argocd' as const,
  },
  argocdNamespace: {
    env: 'GSV_ARGOCD_NAMESPACE',
    used: ['operator'],
    doc: 'Namespace of the Applications.',
    parse: text,
    fallback: 'argocd',
  },
  kubernetesUsers: {
    env: 'GSV_KUBERNETES_USERS',
    used: ['operator'],
    doc: 'How the API server names users that log in: `{issuer}#{sub}`, `prefix:{sub}` or `{email}`.',
    parse: placeholder(/\{sub\}|\{email\}/, 'must hold {sub} or {email}'),
    fallback: '{issuer}#{sub}',
  },
  kubernetesGroups: {
    env: 'GSV_KUBERNETES_GROUPS',
    used: ['operator'],
    doc: 'How it names their groups: `{group}` with the prefix that it adds.',
    parse: placeholder(/\{group\}/, 'must hold {group}'),
    fallback: '{group}',
  },
  auditMinutes: {
    env: 'GSV_AUDIT_MINUTES',
    used: ['operator'],
    doc: 'Minutes between two searches for orphans, which read everything there is. 0 = off.',
    parse: minutes,
    fallback: 60,
  },
  vaultAddr: { env: 'GSV_VAULT_ADDR', used: ['operator', 'runner'], doc: 'Vault or OpenBao.', parse: url },
  vaultAuth: {
    env: 'GSV_VAULT_AUTH',
    used: ['operator', 'runner'],
    doc: 'How to log in there.',
    parse: oneOf('kubernetes', 'token'),
    fallback: 'kubernetes' as const,
  },
  vaultToken: {
    env: 'GSV_VAULT_TOKEN',
    used: ['operator', 'runner'],
    doc: 'Token for the `token` login.',
    parse: secret,
  },
  vaultRole: {
    env: 'GSV_VAULT_ROLE',
    used: ['operator', 'runner'],
    doc: 'Role of the `kubernetes` login; absent = `gsv-operator`, `gsv-runner`.',
    parse: text,
  },
  vaultAuthMount: {
    env: 'GSV_VAULT_AUTH_MOUNT',
    used: ['operator', 'runner'],
    doc: 'Where the Kubernetes auth method is mounted, below `auth/`.',
    parse: text,
    fallback: 'kubernetes',
  },
  leaseNamespace: {
    env: 'GSV_LEASE_NAMESPACE',
    used: ['operator'],
    doc: 'Namespace of the Lease `gsv-operator`, by which one of several operators leads.',
    parse: text,
    fallback: 'gsv-system',
  },
  vaultJwtFile: {
    env: 'GSV_VAULT_JWT_FILE',
    used: ['operator', 'runner'],
    doc: 'Service account token for the `kubernetes` login; in a cluster a projected one whose audience is Vault’s.',
    parse: text,
    fallback: '/var/run/secrets/kubernetes.io/serviceaccount/token',
  },
  vaultAudience: {
    env: 'GSV_VAULT_AUDIENCE',
    used: ['operator'],
    doc: 'Audience that ServiceAccount tokens of workload namespaces name when External Secrets logs in there.',
    parse: text,
    fallback: 'vault',
  },
  vaultCaFile: {
    env: 'GSV_VAULT_CA_FILE',
    used: ['operator', 'runner'],
    doc: 'PEM file of the authorities to trust for Vault, instead of the system’s.',
    parse: text,
  },
  vaultMount: {
    env: 'GSV_VAULT_MOUNT',
    used: ['operator', 'runner'],
    doc: 'KV v2 mount.',
    parse: text,
    fallback: 'secret',
  },
  runtimeUrl: {
    env: 'GSV_RUNTIME_URL',
    used: ['runner', 'quickstart'],
    doc: 'The shared Langflow runtime.',
    parse: url,
  },
  runtimeImage: {
    env: 'GSV_RUNTIME_IMAGE',
    used: ['operator'],
    doc: 'Image of the runtime that profile Namespace gives each Instance, from the internal mirror and by digest; absent = that profile is not offered.',
    parse: imageByDigest,
  },
  runtimeKey: { env: 'GSV_RUNTIME_KEY', used: ['runner', 'quickstart'], doc: 'Its API key.', parse: secret },
  artifactsUrl: {
    env: 'GSV_ARTIFACTS_URL',
    used: ['ledger', 'operator', 'runner'],
    doc: 'Artifact store: `file:///folder` or `s3://bucket/prefix`.',
    parse: url,
  },
  s3Endpoint: {
    env: 'GSV_S3_ENDPOINT',
    used: ['ledger', 'operator', 'runner'],
    doc: 'Base URL of an S3-compatible service; absent = AWS.',
    parse: url,
  },
  s3AccessKey: {
    env: 'GSV_S3_ACCESS_KEY',
    used: ['ledger', 'operator', 'runner'],
    doc: 'Its access key.',
    parse: secret,
  },
  s3SecretKey: {
    env: 'GSV_S3_SECRET_KEY',
    used: ['ledger', 'operator', 'runner'],
    doc: 'Its secret key.',
    parse: secret,
  },
  saleorShops: {
    env: 'GSV_SALEOR_SHOPS',
    used: ['gateway'],
    doc: 'Comma-separated API URLs of the shops whose webhooks are accepted; absent = commerce is off.',
    parse: urlList,
  },
} satisfies Record<string, Definition<unknown>>;
