import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { findBinaries } from './binaries.ts';
import { buildProgram } from './build.ts';
import { DownloadError, downloadPrograms } from './download.ts';

const quiet = (): void => undefined;

function folder(t: TestContext, programs: readonly string[] = []): string {
  const path = mkdtempSync(join(tmpdir(), 'gsv-binaries-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  for (const program of programs) writeFileSync(join(path, program), '#!/bin/sh\n', { mode: 0o755 });
  return path;
}

async function failure(action: () => Promise<unknown>): Promise<Error> {
  try {
    await action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was expected to fail');
}

test('a folder that is named is taken, with or without a controller manager', async (t) => {
  const assets = folder(t, ['kube-apiserver', 'etcd']);
  const found = await findBinaries(quiet, { KUBEBUILDER_ASSETS: assets, PATH: '/nowhere' });
  assert.equal(found, { 'kube-apiserver': join(assets, 'kube-apiserver'), etcd: join(assets, 'etcd') });
});

test('a folder that is named and lacks a program is an error that names it', async (t) => {
  const assets = folder(t, ['kube-apiserver']);
  const complete = folder(t, ['kube-apiserver', 'etcd']);
  const error = await failure(() => findBinaries(quiet, { KUBEBUILDER_ASSETS: assets, PATH: complete }));
  assert.match(error.message, assets);
});

test('programs are found on the PATH, also in several folders; what cannot run is no program', async (t) => {
  const [one, two] = [folder(t, ['etcd', 'kube-controller-manager']), folder(t, ['kube-apiserver'])];
  const other = folder(t);
  writeFileSync(join(other, 'etcd'), 'text', { mode: 0o644 });
  mkdirSync(join(other, 'kube-apiserver'));
  const found = await findBinaries(quiet, { PATH: [other, one, two].join(':') });
  assert.equal(found, {
    'kube-apiserver': join(two, 'kube-apiserver'),
    etcd: join(one, 'etcd'),
    'kube-controller-manager': join(one, 'kube-controller-manager'),
  });
});

/** A release index with one archive, served on loopback. */
async function releases(t: TestContext, change: { hash?: string; version?: string } = {}): Promise<string> {
  const source = folder(t);
  mkdirSync(join(source, 'controller-tools/envtest'), { recursive: true });
  for (const program of ['kube-apiserver', 'etcd']) {
    writeFileSync(join(source, 'controller-tools/envtest', program), program, { mode: 0o755 });
  }
  execFileSync('tar', ['-czf', join(source, 'archive'), '-C', source, 'controller-tools']);
  const archive = readFileSync(join(source, 'archive'));
  const hash = change.hash ?? createHash('sha512').update(archive).digest('hex');
  const machine = `${platform()}-${arch() === 'x64' ? 'amd64' : arch()}`;
  const server = createServer((request, response) => {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const release = (version: string) => ({
      [`envtest-${version}-${machine}.tar.gz`]: { hash, selfLink: `${base}/${version}` },
      'envtest-other-machine.tar.gz': { hash: '', selfLink: `${base}/wrong` },
    });
    const versions = [change.version ?? 'v1.36.9', 'v1.36.0', 'v1.35.0', 'v1.36.11-beta.0'];
    const index = { releases: Object.fromEntries(versions.map((version) => [version, release(version)])) };
    if (request.url === '/index.yaml') response.end(stringify(index));
    else if (request.url === `/${versions[0]}`) response.end(archive);
    else response.writeHead(404).end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/index.yaml`;
}

test('the newest release of our minor version is downloaded and unpacked', async (t) => {
  const target = join(folder(t), 'envtest');
  await downloadPrograms(target, quiet, await releases(t, { version: 'v1.36.10' }));
  assert.is(readFileSync(join(target, 'etcd'), 'utf8'), 'etcd');
  assert.equal(readdirSync(target).sort(), ['etcd', 'kube-apiserver']);
});

test('an archive with another checksum is not unpacked', async (t) => {
  const parent = folder(t);
  const url = await releases(t, { hash: '0'.repeat(128) });
  const error = await failure(() => downloadPrograms(join(parent, 'envtest'), quiet, url));
  assert.instance(error, DownloadError);
  assert.match(error.message, /checksum/);
  assert.equal(readdirSync(parent), []);
});

test('without internet the download says so in a sentence', async (t) => {
  const target = join(folder(t), 'envtest');
  const error = await failure(() => downloadPrograms(target, quiet, 'http://127.0.0.1:1/index.yaml'));
  assert.instance(error, DownloadError);
  assert.match(error.message, /cannot be reached/);
  assert.not.ok(existsSync(target));
});

test('without Go a build says so', async (t) => {
  const path = process.env.PATH;
  t.after(() => {
    process.env.PATH = path;
  });
  process.env.PATH = folder(t);
  const error = await failure(() => buildProgram('etcd', quiet));
  assert.match(error.message, /Go is not on the PATH/);
});
