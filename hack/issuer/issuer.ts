import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider, type ResourceServerInfo } from 'oidc-provider';
import { INTERACTION_PATH, serveInteraction } from './interaction.ts';
import { type IssuerKeys, loadIssuerKeys } from './keys.ts';
import { memoryAdapter } from './memory.ts';

export interface IssuerAccount {
  email: string;
  emailVerified: boolean;
  name: string;
  sub: string;
  /** Value of the `groups` claim; absent: no claim. */
  groups?: string[];
}

export interface IssuerOptions {
  /** 0 or absent = a free one. The issuer's name contains the port, so keep it to keep tokens valid. */
  port?: number;
  /** Where the signing keys are kept; absent: only in memory. */
  dataDir?: string;
  /** `aud` of the access tokens. */
  audience: string;
  clientId: string;
  /** Where the browser login may return to; absent: `/callback` of the edge's default port. */
  redirectUris?: string[];
  accounts: IssuerAccount[];
}

export interface MintOptions {
  scope?: string;
  /** Default: 3600. */
  ttlSeconds?: number;
  /** Default: the issuer's audience. */
  audience?: string;
}

export interface Issuer {
  /** The issuer identifier; discovery is below it. */
  url: string;
  /** A signed access token of an account, without a browser. Throws for an unknown email. */
  mint(email: string, options?: MintOptions): Promise<string>;
  close(): Promise<void>;
}

const DEFAULT_TTL_SECONDS = 3_600;
const RESOURCE_SCOPE = 'store';

/**
 * A real OpenID provider for the quickstart and the tests: discovery, JWKS, authorization code with
 * PKCE, RS256 access tokens in JWT form (RFC 9068). Never reachable from outside the machine.
 *
 * `oidc-provider` prints a notice for each development default it is left with. They are silenced by
 * leaving it none: own adapter, own keys, own cookie keys, own pages, explicit lifetimes.
 */
export async function startIssuer(options: IssuerOptions): Promise<Issuer> {
  const keys = await loadIssuerKeys(options.dataDir);
  const server = createServer();
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(url, configuration(options, keys));
  const callback = provider.callback();
  server.on('request', (request, response) => {
    void serveInteraction(provider, options.accounts, request, response).then((served) =>
      served ? undefined : callback(request, response),
    );
  });
  return {
    url,
    mint: (email, mintOptions) => mint(provider, options, email, mintOptions ?? {}),
    close: async () => {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, 'close');
    },
  };
}

/** Resource indicators must be absolute URIs (RFC 8707), an audience need not be one. */
function resourceOf(audience: string): string {
  return `urn:gsv:resource:${encodeURIComponent(audience)}`;
}

function resourceServer(audience: string): ResourceServerInfo {
  return {
    audience,
    scope: RESOURCE_SCOPE,
    accessTokenFormat: 'jwt',
    accessTokenTTL: DEFAULT_TTL_SECONDS,
    jwt: { sign: { alg: 'RS256' } },
  };
}

async function mint(provider: Provider, options: IssuerOptions, email: string, request: MintOptions): Promise<string> {
  const account = options.accounts.find((each) => each.email.toLowerCase() === email.toLowerCase());
  if (!account) throw new RangeError(`the issuer has no account ${email}`);
  const client = await provider.Client.find(options.clientId);
  if (!client) throw new RangeError(`the issuer has no client ${options.clientId}`);
  const audience = request.audience ?? options.audience;
  const token = new provider.AccessToken({
    client,
    accountId: account.sub,
    scope: request.scope ?? RESOURCE_SCOPE,
    gty: 'mint',
    expiresIn: request.ttlSeconds ?? DEFAULT_TTL_SECONDS,
    resourceServer: new provider.ResourceServer(resourceOf(audience), resourceServer(audience)),
  });
  return token.save();
}

function configuration(options: IssuerOptions, keys: IssuerKeys): Record<string, unknown> {
  const byId = new Map(options.accounts.map((account) => [account.sub, account]));
  const resource = resourceOf(options.audience);
  return {
    adapter: memoryAdapter(Date.now),
    jwks: keys.jwks,
    cookies: { keys: keys.cookieKeys },
    clients: [client(options)],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    conformIdTokenClaims: false,
    clientBasedCORS: () => false,
    findAccount: (_context: unknown, sub: string) => account(byId.get(sub)),
    interactions: {
      url: (_context: unknown, interaction: { uid: string }) => `${INTERACTION_PATH}${interaction.uid}`,
    },
    loadExistingGrant: grantEverythingAsked(options.clientId, resource),
    renderError,
    ttl: lifetimes(),
    formats: { customizers: { jwt: addIdentityClaims(byId) } },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => resourceServer(options.audience),
      },
    },
  };
}

function client(options: IssuerOptions): object {
  return {
    client_id: options.clientId,
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris: options.redirectUris ?? ['http://127.0.0.1:7100/callback'],
  };
}

function lifetimes(): object {
  return {
    AccessToken: DEFAULT_TTL_SECONDS,
    AuthorizationCode: 60,
    IdToken: DEFAULT_TTL_SECONDS,
    Grant: 14 * 24 * 3600,
    Interaction: 3600,
    Session: 14 * 24 * 3600,
  };
}

function account(found: IssuerAccount | undefined): object | undefined {
  if (!found) return undefined;
  return { accountId: found.sub, claims: () => ({ sub: found.sub, ...identityClaims(found), name: found.name }) };
}

function identityClaims(found: IssuerAccount): object {
  return {
    email: found.email,
    email_verified: found.emailVerified,
    ...(found.groups ? { groups: found.groups } : {}),
  };
}

function addIdentityClaims(byId: Map<string, IssuerAccount>) {
  return (_context: unknown, token: { accountId?: string }, jwt: { payload: object }): void => {
    const found = token.accountId === undefined ? undefined : byId.get(token.accountId);
    if (found) Object.assign(jwt.payload, identityClaims(found));
  };
}

interface GrantContext {
  oidc: {
    provider: Provider;
    session: { accountId: string };
    params: { scope?: string };
  };
}

/** The only client is the store itself, so nobody is asked to consent. */
function grantEverythingAsked(clientId: string, resource: string) {
  return async ({ oidc }: GrantContext): Promise<object> => {
    const grant = new oidc.provider.Grant({ clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope(oidc.params.scope ?? 'openid');
    grant.addResourceScope(resource, RESOURCE_SCOPE);
    await grant.save();
    return grant;
  };
}

function renderError(context: { type: string; body: unknown }, out: { error: string; error_description?: string }) {
  context.type = 'text/plain';
  context.body = `${out.error}: ${out.error_description ?? ''}`;
}
