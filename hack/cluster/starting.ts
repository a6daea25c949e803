import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Running } from './processes.ts';

/** On a busy machine the API server has taken a minute. Milliseconds. */
const READY_TIMEOUT_MS = 180_000;
const POLL_MS = 100;
const PROBE_TIMEOUT_MS = 5_000;
/** A free port may be taken by another before the program binds it. */
const PORT_TRIES = 3;

/** Waits for a program. @throws Error with its last words when it ends or does not become ready */
export async function untilReady(program: Running, ready: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + READY_TIMEOUT_MS;
  while (!(await ready())) {
    const why = program.ended() ? 'ended at once' : `was not ready after ${READY_TIMEOUT_MS / 1000} s`;
    if (program.ended() || Date.now() > end) {
      const last = program.logTail();
      await program.stop('kill');
      throw new Error(`${program.name} ${why}:\n${last}`);
    }
    await delay(POLL_MS);
  }
}

/** Calls `start` with a port of loopback that nobody uses, again when somebody else was faster. */
export async function onFreePort(start: (port: number) => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await start(await freePort());
      return;
    } catch (error) {
      const taken = /address already in use/.test((error as Error).message);
      if (!taken || attempt === PORT_TRIES) throw error;
    }
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** The status that an address answers with; 0 = it does not. */
export function probe(url: string, ca?: Buffer, token?: string): Promise<number> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const send = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((done) => {
    const request = send(url, { headers, ca, timeout: PROBE_TIMEOUT_MS, agent: false }, (response) => {
      response.resume().once('close', () => done(response.statusCode ?? 0));
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => done(0));
    request.end();
  });
}
