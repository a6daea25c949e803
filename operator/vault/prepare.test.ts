/** The printed script does what the suites do over HTTP: it is run here with a client that notes its calls. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { preparation } from '../../config/secrets/vault-prepare.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'gsv-vault-prepare-'));
after(() => rmSync(folder, { recursive: true }));

const CLIENT = `#!/bin/sh
if [ "$1" = read ]; then echo auth_kubernetes_1; exit 0; fi
printf '%s %s\\n' "$1" "$2" >> "$CALLS"
cat >> "$CALLS"
printf '\\0' >> "$CALLS"
`;

function print(...args: string[]) {
  const script = join(import.meta.dirname, 'main.ts');
  return run(process.execPath, [script, ...args], { env: { ...process.env, GSV_VAULT_MOUNT: 'kv/agents' } });
}

for (const program of ['vault', 'bao']) {
  test(`the script for ${program} writes exactly the shipped policies and roles`, async () => {
    const calls = join(folder, `${program}.calls`);
    writeFileSync(join(folder, program), CLIENT);
    chmodSync(join(folder, program), 0o755);
    writeFileSync(join(folder, 'prepare.sh'), (await print('--program', program)).stdout);
    const path = `${folder}${delimiter}${process.env.PATH}`;
    await run('sh', [join(folder, 'prepare.sh')], { env: { ...process.env, PATH: path, CALLS: calls } });
    const written = readFileSync(calls, 'utf8').split('\0').filter(Boolean);
    const facts = { mount: 'kv/agents', authMount: 'kubernetes', audience: 'vault', systemNamespace: 'gsv-system' };
    const wanted = preparation({ ...facts, accessor: 'auth_kubernetes_1' });
    assert.is(written.length, wanted.length);
    for (const [index, { path: where, body }] of wanted.entries()) {
      const [head, ...json] = written[index]?.split('\n') ?? [];
      assert.is(head, `write ${where}`);
      assert.equal(JSON.parse(json.join('\n')), body, where);
    }
  });
}

test('a wrong word is answered with the usage', async () => {
  const failed = await print('--program', 'curl').catch((error: { code: number; stderr: string }) => error);
  assert.is((failed as { code: number }).code, 2);
  assert.match(failed.stderr, 'usage: npm run --silent vault:prepare');
});
