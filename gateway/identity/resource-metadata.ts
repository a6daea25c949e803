import type { FastifyInstance } from 'fastify';

export interface ResourceMetadataOptions {
  issuer: string;
  publicUrl: () => string;
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/** Resources below ours that a client may ask about; anything that is a path is one. */
const PATH = { type: 'string', pattern: '^[\\w./~-]{0,200}$' };

/** RFC 9728: tells a client that got a 401 where to get a token. */
export function addResourceMetadata(app: FastifyInstance, options: ResourceMetadataOptions): void {
  const document = (path: string): Record<string, unknown> => ({
    resource: path === '' ? options.publicUrl() : `${options.publicUrl()}/${path}`,
    resource_name: 'GSV Agent Store',
    authorization_servers: [options.issuer],
    bearer_methods_supported: ['header'],
  });
  const config = { access: 'public' as const };
  const schema = { tags: ['identity'], summary: 'OAuth protected resource metadata (RFC 9728)' };
  app.get(WELL_KNOWN, { config, schema }, async (_request, reply) => {
    void reply.header('cache-control', 'public, max-age=300');
    return document('');
  });
  const params = { type: 'object', properties: { '*': PATH }, required: ['*'] };
  app.get<{ Params: { '*': string } }>(
    `${WELL_KNOWN}/*`,
    { config, schema: { ...schema, params } },
    async (request, reply) => {
      void reply.header('cache-control', 'public, max-age=300');
      return document(request.params['*']);
    },
  );
}

/** The value of `WWW-Authenticate` for a refused request (RFC 6750 section 3, RFC 9728 section 5.1). */
export function challenge(code: string, publicUrl: string): string {
  const { origin, pathname } = new URL(publicUrl);
  const metadata = `${origin}${WELL_KNOWN}${pathname === '/' ? '' : pathname}`;
  return code === 'token_missing'
    ? `Bearer resource_metadata="${metadata}"`
    : `Bearer error="invalid_token", error_description="${code}", resource_metadata="${metadata}"`;
}
