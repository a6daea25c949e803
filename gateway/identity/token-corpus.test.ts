import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { CompactEncrypt, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import * as assert from 'uvu/assert';
import { Problem } from '../../config/problem.ts';
import { TokenVerifier } from './tokens.ts';

const AUDIENCE = 'gsv-gateway';
const HEADER = { alg: 'RS256', kid: 'k1', typ: 'at+jwt' };

const rsa = await generateKeyPair('RS256', { extractable: true });
const other = await generateKeyPair('RS256');
const ec = await generateKeyPair('ES256');
const encryption = await generateKeyPair('RSA-OAEP');

let server: Server;
let issuer: string;
let jwks: { keys: object[] };
let fetches = 0;
let down = false;
let now = Date.now();

before(async () => {
  jwks = {
    keys: [
      { ...(await exportJWK(rsa.publicKey)), kid: 'k1', use: 'sig', alg: 'RS256' },
      { ...(await exportJWK(ec.publicKey)), kid: 'e1', use: 'sig' },
      { ...(await exportJWK(other.publicKey)), kid: 'enc1', use: 'enc' },
    ],
  };
  server = createServer((request, response) => {
    if (down) return void response.destroy();
    const discovery = { issuer, jwks_uri: `${issuer}/jwks` };
    if (request.url === '/jwks') fetches++;
    response.end(JSON.stringify(request.url === '/jwks' ? jwks : discovery));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.close();
  server.closeAllConnections();
});

function verifier(): TokenVerifier {
  return new TokenVerifier({ issuer, audience: AUDIENCE, clock: () => now });
}

function sign(claims: JWTPayload = {}, header: object = {}, key = rsa.privateKey): Promise<string> {
  const seconds = Math.floor(now / 1000);
  const payload = { iss: issuer, aud: AUDIENCE, sub: 'u1', iat: seconds, exp: seconds + 300, ...claims };
  for (const [name, value] of Object.entries(payload)) if (value === undefined) delete payload[name as never];
  return new SignJWT(payload).setProtectedHeader({ ...HEADER, ...header }).sign(key);
}

async function codeOf(token: string, with_ = verifier()): Promise<string> {
  try {
    await with_.verify(token);
    return 'accepted';
  } catch (error) {
    assert.instance(error, Problem, String(error));
    return (error as Problem).code;
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

interface Sample {
  reason: string;
  token: () => Promise<string> | string;
  code: string;
}

const seconds = (): number => Math.floor(now / 1000);

const CORPUS: Sample[] = [
  { reason: 'a good token', token: () => sign(), code: 'accepted' },
  {
    reason: 'header type JWT as Keycloak writes it',
    token: () => sign({ typ: 'Bearer' }, { typ: 'JWT' }),
    code: 'accepted',
  },
  { reason: 'the audience in an array', token: () => sign({ aud: ['account', AUDIENCE] }), code: 'accepted' },
  { reason: 'a P-256 key', token: () => sign({}, { alg: 'ES256', kid: 'e1' }, ec.privateKey), code: 'accepted' },
  { reason: 'expired within the tolerance', token: () => sign({ exp: seconds() - 2 }), code: 'accepted' },
  {
    reason: 'algorithm none',
    token: async () => {
      const [, payload] = (await sign()).split('.');
      return `${encode({ alg: 'none', typ: 'at+jwt' })}.${payload}.`;
    },
    code: 'token_invalid',
  },
  {
    reason: 'HS256 with the public key as secret',
    token: async () => {
      const secret = new TextEncoder().encode(await exportSPKI(rsa.publicKey));
      const payload = { iss: issuer, aud: AUDIENCE, sub: 'u1', exp: seconds() + 300 };
      return new SignJWT(payload).setProtectedHeader({ alg: 'HS256', kid: 'k1', typ: 'at+jwt' }).sign(secret);
    },
    code: 'token_invalid',
  },
  { reason: 'an unknown key id', token: () => sign({}, { kid: 'nope' }), code: 'token_invalid' },
  { reason: 'another key under a known id', token: () => sign({}, {}, other.privateKey), code: 'token_invalid' },
  { reason: 'a key for encryption', token: () => sign({}, { kid: 'enc1' }, other.privateKey), code: 'token_invalid' },
  { reason: 'another issuer', token: () => sign({ iss: 'https://evil.example' }), code: 'token_invalid' },
  { reason: 'an issuer with a slash more', token: () => sign({ iss: `${issuer}/` }), code: 'token_invalid' },
  { reason: 'no issuer', token: () => sign({ iss: undefined as never }), code: 'token_invalid' },
  { reason: 'another audience', token: () => sign({ aud: 'account' }), code: 'token_wrong_audience' },
  { reason: 'other audiences', token: () => sign({ aud: ['a', 'b'] }), code: 'token_wrong_audience' },
  {
    reason: 'an audience that only begins alike',
    token: () => sign({ aud: `${AUDIENCE}-2` }),
    code: 'token_wrong_audience',
  },
  { reason: 'no audience', token: () => sign({ aud: undefined as never }), code: 'token_wrong_audience' },
  { reason: 'expired', token: () => sign({ exp: seconds() - 60 }), code: 'token_expired' },
  { reason: 'no expiry', token: () => sign({ exp: undefined as never }), code: 'token_invalid' },
  { reason: 'not valid yet', token: () => sign({ nbf: seconds() + 60 }), code: 'token_invalid' },
  { reason: 'no subject', token: () => sign({ sub: undefined as never }), code: 'token_invalid' },
  { reason: 'an empty subject', token: () => sign({ sub: '' }), code: 'token_invalid' },
  { reason: 'a huge subject', token: () => sign({ sub: 'x'.repeat(256) }), code: 'token_invalid' },
  { reason: 'no type', token: () => sign({}, { typ: undefined }), code: 'token_invalid' },
  { reason: 'a logout token', token: () => sign({}, { typ: 'logout+jwt' }), code: 'token_invalid' },
  {
    reason: 'a refresh token of Keycloak',
    token: () => sign({ typ: 'Refresh' }, { typ: 'JWT' }),
    code: 'token_invalid',
  },
  { reason: 'an ID token of Keycloak', token: () => sign({ typ: 'ID' }, { typ: 'JWT' }), code: 'token_invalid' },
  { reason: 'bound to a key', token: () => sign({ cnf: { jkt: 'x' } }), code: 'token_invalid' },
  { reason: 'an unknown critical header', token: () => criticalHeader(), code: 'token_invalid' },
  {
    reason: 'a tampered payload',
    token: async () => {
      const [head, payload, signature] = (await sign()).split('.');
      const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString());
      return `${head}.${encode({ ...claims, sub: 'u2' })}.${signature}`;
    },
    code: 'token_invalid',
  },
  {
    reason: 'encrypted (JWE)',
    token: () =>
      new CompactEncrypt(new TextEncoder().encode('{}'))
        .setProtectedHeader({ alg: 'RSA-OAEP', enc: 'A256GCM', typ: 'at+jwt' })
        .encrypt(encryption.publicKey),
    code: 'token_invalid',
  },
  { reason: 'truncated', token: async () => (await sign()).slice(0, -20), code: 'token_invalid' },
  {
    reason: 'without a signature',
    token: async () => `${(await sign()).split('.').slice(0, 2).join('.')}.`,
    code: 'token_invalid',
  },
  { reason: 'two parts', token: async () => (await sign()).split('.').slice(0, 2).join('.'), code: 'token_invalid' },
  { reason: 'not a token', token: () => 'abc', code: 'token_invalid' },
  { reason: 'a header that is no object', token: () => `${encode(7)}.${encode({})}.AAAA`, code: 'token_invalid' },
  { reason: 'a payload that is no object', token: () => signText('[]'), code: 'token_invalid' },
  { reason: 'huge', token: () => sign({ pad: 'x'.repeat(20_000) }), code: 'token_invalid' },
];

async function criticalHeader(): Promise<string> {
  const head = encode({ ...HEADER, crit: ['b64x'], b64x: true });
  const [, payload] = (await sign()).split('.');
  const bytes = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', rsa.privateKey, Buffer.from(`${head}.${payload}`));
  return `${head}.${payload}.${Buffer.from(bytes).toString('base64url')}`;
}

async function signText(payload: string): Promise<string> {
  const input = `${encode(HEADER)}.${Buffer.from(payload).toString('base64url')}`;
  const bytes = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', rsa.privateKey, Buffer.from(input));
  return `${input}.${Buffer.from(bytes).toString('base64url')}`;
}

for (const { reason, token, code } of CORPUS)
  test(`${reason}: ${code}`, async () => {
    assert.is(await codeOf(await token()), code);
  });

test('a token carries subject, email and groups to the caller', async () => {
  const claims = { email: 'A@Example.com', email_verified: true, groups: ['g1', 7, 'g2'] };
  const caller = await verifier().verify(await sign(claims));
  assert.equal(caller, {
    subject: `${issuer}|u1`,
    email: 'A@Example.com',
    emailVerified: true,
    groups: ['g1', 'g2'],
  });
  const unsure = await verifier().verify(await sign({ email: 'a@example.com', email_verified: 'true' }));
  assert.is(unsure.emailVerified, false);
});

test('a remembered token ends with its expiry', async () => {
  const tokens = verifier();
  const token = await sign({ exp: seconds() + 10 });
  assert.is(await codeOf(token, tokens), 'accepted');
  now += 20_000;
  assert.is(await codeOf(token, tokens), 'token_expired');
});

test('a new key is found at once, and made-up key ids do not flood the issuer', async () => {
  const tokens = verifier();
  assert.is(await codeOf(await sign(), tokens), 'accepted');
  now += 31_000;
  const rotated = await generateKeyPair('RS256');
  jwks.keys.push({ ...(await exportJWK(rotated.publicKey)), kid: 'k2', use: 'sig' });
  assert.is(await codeOf(await sign({}, { kid: 'k2' }, rotated.privateKey), tokens), 'accepted');
  const before = fetches;
  for (let id = 0; id < 50; id++)
    assert.is(await codeOf(await sign({}, { kid: `made-up-${id}` }), tokens), 'token_invalid');
  assert.is(fetches, before);
});

test('with the issuer down known keys still serve, and an edge without keys answers 503', async () => {
  const tokens = verifier();
  assert.is(await codeOf(await sign(), tokens), 'accepted');
  down = true;
  now += 11 * 60_000;
  assert.is(await codeOf(await sign(), tokens), 'accepted');
  assert.is(await codeOf(await sign()), 'issuer_unavailable');
  now += 7 * 3_600_000;
  assert.is(await codeOf(await sign(), tokens), 'issuer_unavailable');
  down = false;
  now += 3_000;
  assert.is(await codeOf(await sign(), tokens), 'accepted');
});

test('an issuer that names itself otherwise is not believed', async () => {
  const wrong = new TokenVerifier({
    issuer: issuer.replace('127.0.0.1', 'localhost'),
    audience: AUDIENCE,
    clock: () => now,
  });
  assert.is(await codeOf(await sign(), wrong), 'issuer_unavailable');
});
