import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import * as assert from 'uvu/assert';
import { type Issuer, type IssuerOptions, startIssuer } from './issuer.ts';

const REDIRECT = 'http://127.0.0.1:65000/callback';
const OPTIONS: IssuerOptions = {
  audience: 'gsv-gateway',
  clientId: 'gsv-store',
  redirectUris: [REDIRECT],
  accounts: [
    { email: 'buyer@example.com', emailVerified: true, name: 'Buyer', sub: 'buyer-1', groups: ['acme-ops'] },
    { email: 'unsure@example.com', emailVerified: false, name: 'Unsure', sub: 'unsure-1' },
  ],
};

let issuer: Issuer;
let dataDir: string;
before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'gsv-issuer-'));
  issuer = await startIssuer({ ...OPTIONS, dataDir });
});
after(async () => {
  await issuer.close();
  await rm(dataDir, { recursive: true });
});

async function verify(token: string, audience = 'gsv-gateway') {
  const discovery = (await (await fetch(`${issuer.url}/.well-known/openid-configuration`)).json()) as {
    jwks_uri: string;
    issuer: string;
  };
  assert.is(discovery.issuer, issuer.url);
  return jwtVerify(token, createRemoteJWKSet(new URL(discovery.jwks_uri)), { issuer: issuer.url, audience });
}

test('a minted token verifies against the served keys and carries the identity', async () => {
  const { payload, protectedHeader } = await verify(await issuer.mint('Buyer@Example.com'));
  assert.is(protectedHeader.alg, 'RS256');
  assert.is(protectedHeader.typ, 'at+jwt');
  assert.is(payload.sub, 'buyer-1');
  assert.is(payload.aud, 'gsv-gateway');
  assert.is(payload.email, 'buyer@example.com');
  assert.is(payload.email_verified, true);
  assert.equal(payload.groups, ['acme-ops']);
  const unsure = await verify(await issuer.mint('unsure@example.com'));
  assert.is(unsure.payload.email_verified, false);
});

test('audience and lifetime of a minted token are as asked', async () => {
  const { payload } = await verify(
    await issuer.mint('buyer@example.com', { audience: 'other', ttlSeconds: 7 }),
    'other',
  );
  assert.is((payload.exp ?? 0) - (payload.iat ?? 0), 7);
});

test('an unknown account gets no token', async () => {
  const error = await issuer.mint('nobody@example.com').catch((reason: unknown) => reason);
  assert.instance(error, RangeError);
});

test('tokens survive a restart with the same folder, and the keys are private', async () => {
  const folder = join(dataDir, 'restart');
  const first = await startIssuer({ ...OPTIONS, dataDir: folder });
  const kid = decodeProtectedHeader(await first.mint('buyer@example.com')).kid;
  await first.close();
  const second = await startIssuer({ ...OPTIONS, dataDir: folder, port: Number(new URL(first.url).port) });
  assert.is(second.url, first.url);
  assert.is(decodeProtectedHeader(await second.mint('buyer@example.com')).kid, kid);
  await second.close();
  assert.is((await stat(join(folder, 'issuer-keys.json'))).mode & 0o777, 0o600);
  await writeFile(
    join(folder, 'issuer-keys.json'),
    (await readFile(join(folder, 'issuer-keys.json'), 'utf8')).slice(9),
  );
  const error = await startIssuer({ ...OPTIONS, dataDir: folder }).catch((reason: unknown) => reason);
  assert.match(String(error), /damaged; remove that file/);
});

/** Follows redirects by hand, with a cookie jar, until `stop` matches the location. */
async function browse(start: string, jar: Map<string, string>, stop: RegExp): Promise<string> {
  let url = start;
  for (let hop = 0; hop < 10; hop++) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const reply = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of reply.headers.getSetCookie()) {
      const [name = '', value = ''] = (line.split(';')[0] ?? '').split('=');
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    const location = reply.headers.get('location');
    if (location === null) throw new Error(`stopped at ${url}: ${reply.status} ${await reply.text()}`);
    url = new URL(location, url).href;
    if (stop.test(url)) return url;
  }
  throw new Error('too many redirects');
}

test('the browser login with PKCE ends in an access token for the store; without PKCE it is refused', async () => {
  const verifier = randomBytes(32).toString('base64url');
  const authorize = new URL('/auth', issuer.url);
  authorize.search = new URLSearchParams({
    client_id: 'gsv-store',
    response_type: 'code',
    scope: 'openid email',
    redirect_uri: REDIRECT,
    state: 's1',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString();
  const jar = new Map<string, string>();
  const page = await browse(authorize.href, jar, /\/interaction\//);
  const html = await (
    await fetch(page, { headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') } })
  ).text();
  assert.match(html, /Buyer/);
  const back = new URL(await browse(`${page}?account=buyer-1`, jar, /:65000\/callback/));
  assert.is(back.searchParams.get('state'), 's1');
  const reply = await fetch(`${issuer.url}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: 'gsv-store',
      grant_type: 'authorization_code',
      code: back.searchParams.get('code') ?? '',
      redirect_uri: REDIRECT,
      code_verifier: verifier,
    }),
  });
  const tokens = (await reply.json()) as { access_token: string };
  const { payload } = await verify(tokens.access_token);
  assert.is(payload.sub, 'buyer-1');
  assert.is(payload.email_verified, true);

  authorize.searchParams.delete('code_challenge');
  const refused = new URL(await browse(authorize.href, new Map(), /:65000\/callback/));
  assert.is(refused.searchParams.get('error'), 'invalid_request');
});
