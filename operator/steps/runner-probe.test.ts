import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { runnerProbe } from './runner-probe.ts';

async function withRunner(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  run: (url: string) => Promise<void>,
): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const json = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

test('it asks for one Instance with the present key and reads the answer', async () => {
  let asked: (string | undefined)[] = [];
  let key = 'first';
  await withRunner(
    (request, response) => {
      asked = [request.method, request.url, request.headers.authorization];
      json(response, 200, { ok: true, contractDigest: 'sha256:x', secrets: [{ name: 'a', version: 2 }] });
    },
    async (url) => {
      const probe = runnerProbe({ url, key: () => key });
      key = 'second';
      assert.equal(await probe.probe('acme', 'claims/../x'), {
        ok: true,
        contractDigest: 'sha256:x',
        secrets: [{ name: 'a', version: 2 }],
      });
      assert.equal(asked, ['POST', '/internal/probe/acme/claims%2F..%2Fx', 'Bearer second']);
    },
  );
});

const refusals: { name: string; status: number; body: unknown; code: string; detail: RegExp }[] = [
  {
    name: 'a problem keeps its code and sentence',
    status: 503,
    body: { code: 'runtime_unavailable', detail: 'the runtime does not answer' },
    code: 'runtime_unavailable',
    detail: /^the runtime/,
  },
  { name: 'a page of a proxy is no success', status: 200, body: '<html>', code: 'unexpected_reply', detail: /200/ },
  {
    name: 'a credential in the sentence is cut out',
    status: 500,
    body: { code: 'internal', detail: 'refused Bearer abcdefgh12345678' },
    code: 'internal',
    detail: /\[redacted\]/,
  },
];

for (const { name, status, body, code, detail } of refusals) {
  test(`not ready: ${name}`, () =>
    withRunner(
      (_, response) => json(response, status, body),
      async (url) => {
        const reply = await runnerProbe({ url, key: () => 'k' }).probe('acme', 'claims');
        if (reply.ok) throw new Error('it should not be ok');
        assert.is(reply.code, code);
        assert.match(reply.detail, detail);
      },
    ));
}

test('a runner that is not there is a reply, not an exception', async () => {
  let url = '';
  await withRunner(
    () => {},
    async (bound) => {
      url = bound;
    },
  );
  const reply = await runnerProbe({ url, key: () => 'k' }).probe('acme', 'claims');
  assert.equal(reply, { ok: false, code: 'runner_unavailable', detail: 'the runner does not answer.' });
});
