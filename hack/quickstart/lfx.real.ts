/**
 * The main job against a real runtime: a flow written as a Python script is exported by lfx, published
 * with `npm run publish`, served by `lfx serve`, bought by the sample order, run and charged.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { exportFlow, installLfx, type LfxRuntime, startLfx } from '../runtime/lfx.ts';

const ROOT = join(import.meta.dirname, '../..');
const SCRIPT = join(ROOT, 'config/flows/claims-triage.py');

let folder: string;
let flow: string;
let lfx: LfxRuntime;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gsv-quickstart-lfx-'));
  const installed = await installLfx((line) => process.stdout.write(`${line}\n`));
  flow = join(folder, 'claims-triage.json');
  await writeFile(flow, await exportFlow(installed, SCRIPT));
  lfx = await startLfx(installed);
});

after(async () => {
  await lfx?.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

function node(script: string, args: string[]): Promise<Outcome> {
  const env = {
    ...process.env,
    GSV_DATA_DIR: join(folder, 'data'),
    GSV_GATEWAY_PORT: '0',
    GSV_LEDGER_PORT: '0',
    GSV_RUNNER_PORT: '0',
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, script), ...args], { cwd: ROOT, env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

test('a flow exported by lfx is published, and its version carries the digest of exactly these bytes', async () => {
  const published = await node('operator/publish/main.ts', [flow, '--offering', 'claims-agent', '--version', '2.0.0']);
  assert.is(published.code, 0, published.stderr);
  const version = await readFile(join(folder, 'data/catalog/claims-agent-2.0.0.yaml'), 'utf8');
  assert.match(
    version,
    createHash('sha256')
      .update(await readFile(flow))
      .digest('hex'),
  );
});

test('an order runs on real lfx and ends in a receipt', async () => {
  const once = await node('hack/quickstart/main.ts', [
    '--once',
    '--runtime-url',
    lfx.url,
    '--runtime-key',
    lfx.key,
    '--flow',
    flow,
  ]);
  const result = JSON.parse(once.stdout.trimEnd().split('\n').at(-1) ?? '') as {
    ok: boolean;
    phases: { name: string }[];
    receipt: { amountMicrocredits: number; lines: { dimension: string; units: number; amountMicrocredits: number }[] };
  };
  assert.ok(result.ok, once.stdout + once.stderr);
  assert.is(result.phases.at(-1)?.name, 'receipt');
  // The flow calls no model, so lfx reports no tokens and the run has its fixed price.
  assert.equal(result.receipt.lines, [{ dimension: 'run', units: 1, amountMicrocredits: 12_000 }]);
  assert.match(once.stdout, 'Claim: A pipe burst in my kitchen');
});

test('a key that the runtime refuses is said at once, and no key is repeated', async () => {
  const once = await node('hack/quickstart/main.ts', [
    '--once',
    '--runtime-url',
    lfx.url,
    '--runtime-key',
    'wrong-key-wrong-key',
    '--flow',
    flow,
  ]);
  assert.is(once.code, 1);
  const said = once.stdout + once.stderr;
  for (const secret of [lfx.key, 'wrong-key-wrong-key', 'Traceback']) assert.not.match(said, secret);
  const failure = JSON.parse(once.stdout.trimEnd().split('\n').at(-1) ?? '') as { failedPhase: string; error: object };
  assert.is(failure.failedPhase, 'start');
  assert.match(JSON.stringify(failure.error), 'runtime_key_refused');
});
