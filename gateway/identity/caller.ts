/** Who sends a request, as far as it is proven. What they may do is for `admission/entitlement.ts`. */
export interface Caller {
  /** `iss|sub`: what Team members, API keys and idempotency scopes name. */
  subject: string;
  /** As the issuer wrote it; compare case-insensitively and only when `emailVerified`. */
  email?: string;
  emailVerified: boolean;
  groups: readonly string[];
  /** Present when an API key was shown: `subject` is then its owner. */
  apiKey?: ApiKeyBounds;
}

/** What an API key narrows its owner to. */
export interface ApiKeyBounds {
  organization: string;
  name: string;
  /** Names of Instances; absent: all of the Organization. */
  instances?: readonly string[];
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `identity/authenticate.ts` on every route that is not public. */
    caller: Caller | undefined;
  }
  interface FastifyContextConfig {
    /**
     * Who may come in at all; a route without it is refused at start. `keys` also admits API keys,
     * `caller` only access tokens.
     */
    access?: 'public' | 'caller' | 'keys';
  }
}
