import type { FastifyInstance } from 'fastify';
import { Problem } from '../../config/problem.ts';
import { LedgerError } from '../../ledger/client.ts';
import { type IntakeOptions, takeIn } from './intake.ts';

/** The largest recorded delivery has 15 KB; 500 lines with all attributes stay under this. */
const BODY_LIMIT_BYTES = 1024 * 1024;

/**
 * `POST /webhooks/saleor`. 200 only after the delivery is durable; 4xx for what can never succeed
 * (Saleor gives up at once); 5xx for what may (Saleor retries for about five minutes).
 */
export async function commerceRoutes(app: FastifyInstance, options: IntakeOptions): Promise<void> {
  await app.register(async (scope) => {
    // The signature covers the raw bytes, so they must not be parsed and printed again.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    // The signature is the authentication: the shop has no token of ours.
    scope.post(
      '/webhooks/saleor',
      {
        config: { access: 'public' },
        bodyLimit: BODY_LIMIT_BYTES,
        schema: { summary: 'Takes in one Saleor webhook delivery', tags: ['commerce'] },
      },
      async (request) => {
        if (!Buffer.isBuffer(request.body)) {
          throw new Problem({ status: 400, code: 'malformed_body', detail: 'the delivery has no body' });
        }
        try {
          const receipt = await takeIn(request.headers, request.body, options);
          request.log.info({ delivery: receipt }, 'delivery taken in');
          return receipt;
        } catch (error) {
          throw transient(error);
        }
      },
    );
  });
}

/** Whatever the ledger could not do now must be a 5xx, or the shop never sends the delivery again. */
function transient(error: unknown): unknown {
  if (!(error instanceof LedgerError)) return error;
  return new Problem({
    status: 503,
    code: 'inbox_unavailable',
    detail: 'the delivery cannot be stored at the moment; send it again',
    headers: { 'retry-after': '10' },
    cause: error,
  });
}
