import type { FastifyInstance, FastifyRequest } from 'fastify';
import { toProblem } from '../../config/http.ts';
import type { Problem } from '../../config/problem.ts';
import { problem } from '../errors.ts';
import { API_KEY_PREFIX, type ApiKeys } from './api-keys.ts';
import type { Caller } from './caller.ts';
import { challenge } from './resource-metadata.ts';
import type { TokenVerifier } from './tokens.ts';

export interface AuthenticationOptions {
  tokens: TokenVerifier;
  apiKeys: ApiKeys;
  publicUrl: () => string;
}

/**
 * Puts the proven caller on every request of a route that is not public, before its body is read.
 * A route that does not say who may come in is refused when it is registered.
 */
export function addAuthentication(app: FastifyInstance, options: AuthenticationOptions): void {
  app.decorateRequest('caller', undefined);
  app.addHook('onRoute', (route) => {
    if (route.config?.access === undefined) throw new Error(`${route.method} ${route.url} does not declare its access`);
  });
  app.addHook('onRequest', async (request) => {
    const access = request.routeOptions.config.access;
    if (access === 'public') return;
    try {
      request.caller = await identify(request, options);
    } catch (error) {
      throw withChallenge(toProblem(error), options.publicUrl());
    }
    if (request.caller.apiKey && access !== 'keys') throw problem('api_key_not_allowed');
  });
}

/** The caller of a route that is not public. */
export function callerOf(request: FastifyRequest): Caller {
  if (!request.caller) throw new Error('a route asks for its caller but is public');
  return request.caller;
}

async function identify(request: FastifyRequest, options: AuthenticationOptions): Promise<Caller> {
  const token = /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw problem('token_missing');
  return token.startsWith(API_KEY_PREFIX) ? options.apiKeys.caller(token) : options.tokens.verify(token);
}

function withChallenge(refusal: Problem, publicUrl: string): Problem {
  if (refusal.status === 401) refusal.headers['www-authenticate'] = challenge(refusal.code, publicUrl);
  return refusal;
}
