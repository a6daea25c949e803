import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { runProcess, type Service } from './process.ts';
import { SettingsError } from './settings.ts';

const SETTINGS = { logLevel: 'silent', opsPort: 0, opsHost: '127.0.0.1' };

function service(overrides: Partial<Service> = {}): Service {
  return { ready: async () => [], close: async () => {}, ...overrides };
}

test('a signal closes the service and ends with 0', async () => {
  const signal = Promise.withResolvers<string>();
  let closed = 0;
  const end = runProcess({
    part: 'test',
    settings: () => SETTINGS,
    drainMs: 1_000,
    signal: signal.promise,
    start: async () => service({ close: async () => void closed++ }),
  });
  await delay(10);
  assert.is(closed, 0);
  signal.resolve('SIGTERM');
  assert.is(await end, 0);
  assert.is(closed, 1);
});

test('a service that ends by itself is closed and ends with 1', async () => {
  let closed = 0;
  const code = await runProcess({
    part: 'test',
    settings: () => SETTINGS,
    drainMs: 1_000,
    signal: new Promise(() => undefined),
    start: async () => service({ ended: Promise.resolve('deposed'), close: async () => void closed++ }),
  });
  assert.equal([code, closed], [1, 1]);
});

test('told to stop while it starts, it does not wait for the start, and closes what comes up late', async () => {
  const late = Promise.withResolvers<Service>();
  let closed = 0;
  let told = false;
  const code = await runProcess({
    part: 'test',
    settings: () => SETTINGS,
    drainMs: 1_000,
    signal: delay(5, 'SIGINT'),
    start: (_settings, { stopping }) => {
      stopping.addEventListener('abort', () => {
        told = true;
      });
      return late.promise;
    },
  });
  assert.equal([code, told, closed], [0, true, 0]);
  late.resolve(service({ close: async () => void closed++ }));
  await delay(10);
  assert.is(closed, 1);
});

test('a drain that hangs is cut', async () => {
  const code = await runProcess({
    part: 'test',
    settings: () => SETTINGS,
    drainMs: 5,
    signal: delay(5, 'SIGTERM'),
    start: async () => service({ close: () => new Promise(() => undefined) }),
  });
  assert.is(code, 0);
});

test('a failed start and wrong settings end with 1 and start nothing', async () => {
  const options = { part: 'test', drainMs: 1_000, signal: new Promise<string>(() => undefined) };
  const refuses = async (): Promise<Service> => {
    throw new Error('no route');
  };
  assert.is(await runProcess({ ...options, settings: () => SETTINGS, start: refuses }), 1);
  let started = false;
  const code = await runProcess({
    ...options,
    settings: (): typeof SETTINGS => {
      throw new SettingsError(['GSV_X is required']);
    },
    start: async () => {
      started = true;
      return service();
    },
  });
  assert.equal([code, started], [1, false]);
});
