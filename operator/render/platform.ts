/** Facts of this installation that manifests need. Never read from the environment: the composition root passes them. */
export interface Platform {
  /** The one Git repository that Argo CD reads (URL without credentials). */
  repoUrl: string;
  branch: string;
  /** Cluster that workloads go to, as Argo CD names it. */
  destinationServer: string;
  /** Where Applications and AppProjects live. */
  argocdNamespace: string;
  /** Where our own processes run: the peer that network policies name. */
  systemNamespace: string;
  vault: {
    server: string;
    /** KV v2 mount. */
    mount: string;
    /** Mount of the kubernetes auth method. */
    authMount: string;
    /** Audience of the ServiceAccount token. */
    audience: string;
    /** Base64 PEM, when Vault's certificate is not publicly trusted. */
    caBundle?: string;
  };
  access: AccessPlatform;
  /** The runtime that profile Namespace gives each Instance. Absent: that profile is not offered. */
  runtime?: RuntimePlatform;
}

/** How the API server's OIDC authenticator names the people that our Teams name. */
export interface AccessPlatform {
  /** `{issuer}` and `{sub}`, or `{email}`, with what stands around them. */
  users: string;
  /** `{group}` with its prefix. */
  groups: string;
  /** The issuer that the API server trusts; needed where `users` does not name it. */
  issuer?: string;
}

export interface RuntimePlatform {
  /** From the internal mirror, by digest; `lfx` is on its PATH. */
  image: string;
  /** Of the one container, as Kubernetes quantities. Absent: what lfx needs. */
  resources?: Record<'requests' | 'limits', Record<string, string>>;
}

/**
 * The address as it may stand in a manifest: Argo CD has credentials of its own, and Git keeps for ever what
 * once stood in it. The user of ssh is part of the address, everybody else's goes.
 */
export function publicAddress(remote: string): string {
  if (!remote.includes('://') || !URL.canParse(remote)) return remote;
  const url = new URL(remote);
  const user = url.protocol === 'ssh:' ? url.username : '';
  if (url.username === user && url.password === '') return remote;
  url.username = user;
  url.password = '';
  return url.href;
}

/** Defaults for everything but the repository; a caller overrides what its settings say. */
export function defaultPlatform(remote: string, branch: string): Platform {
  return {
    repoUrl: publicAddress(remote),
    branch,
    destinationServer: 'https://kubernetes.default.svc',
    argocdNamespace: 'argocd',
    systemNamespace: 'gsv-system',
    vault: {
      server: 'https://vault.gsv-system.svc:8200',
      mount: 'secret',
      authMount: 'kubernetes',
      audience: 'vault',
    },
    // What kube-apiserver does with --oidc-issuer-url alone.
    access: { users: '{issuer}#{sub}', groups: '{group}' },
  };
}
