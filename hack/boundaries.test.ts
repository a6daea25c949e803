import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';

const ROOT = join(import.meta.dirname, '..');

interface Crossing {
  from: string;
  imports: string;
  reason: string;
}

/** Each must be refused: one row for every rule in biome.json. */
const FORBIDDEN: Crossing[] = [
  { from: 'config/a.ts', imports: 'crds/store.ts', reason: 'config imports nothing of ours' },
  { from: 'crds/a.ts', imports: 'config/log.ts', reason: 'crds imports nothing of ours' },
  { from: 'crds/store/a.ts', imports: 'operator/main.ts', reason: 'crds imports nothing of ours' },
  { from: 'ledger/a.ts', imports: 'crds/store.ts', reason: 'the ledger knows nothing of Kubernetes' },
  { from: 'operator/a.ts', imports: 'gateway/app.ts', reason: 'operator and gateway never meet' },
  { from: 'operator/steps/a.ts', imports: 'ledger/operations.ts', reason: 'only the client of the ledger' },
  { from: 'operator/steps/a.ts', imports: 'operator/controllers/instance.ts', reason: 'steps lie below controllers' },
  { from: 'operator/render/a.ts', imports: 'config/settings.ts', reason: 'render is pure' },
  { from: 'operator/render/a.ts', imports: 'operator/git/writer.ts', reason: 'render is pure' },
  { from: 'operator/preview/a.ts', imports: 'config/settings.ts', reason: 'a preview is pure' },
  { from: 'operator/preview/a.ts', imports: 'operator/inspect/present.ts', reason: 'a preview is pure' },
  {
    from: 'operator/runtime/a.ts',
    imports: 'operator/controllers/instance.ts',
    reason: 'no kind is named in the runtime',
  },
  { from: 'operator/git/a.ts', imports: 'operator/steps/commit.ts', reason: 'git is a leaf' },
  { from: 'operator/delivery/a.ts', imports: 'operator/steps/sync.ts', reason: 'delivery is a leaf' },
  { from: 'gateway/a.ts', imports: 'operator/main.ts', reason: 'operator and gateway never meet' },
  { from: 'gateway/runs/a.ts', imports: 'gateway/runner/app.ts', reason: 'the runner is private' },
  { from: 'gateway/a.ts', imports: 'ledger/operations.ts', reason: 'only the client of the ledger' },
  { from: 'gateway/runner/a.ts', imports: 'gateway/identity/tokens.ts', reason: 'runner and edge share the ticket' },
  { from: 'gateway/runner/a.ts', imports: 'operator/main.ts', reason: 'operator and gateway never meet' },
  { from: 'gateway/ticket.ts', imports: 'gateway/runner/app.ts', reason: 'the ticket knows neither side' },
  { from: 'operator/a.ts', imports: 'postgres', reason: 'PostgreSQL only behind the ledger' },
  { from: 'gateway/a.ts', imports: 'drizzle-orm', reason: 'PostgreSQL only behind the ledger' },
  { from: 'operator/a.ts', imports: '@kubernetes/client-node', reason: 'Kubernetes only behind crds' },
  { from: 'ledger/a.ts', imports: '@kubernetes/client-node', reason: 'Kubernetes only behind crds' },
  { from: 'gateway/a.ts', imports: 'node-vault', reason: 'one door to Vault' },
  { from: 'gateway/runner/a.ts', imports: '@aws-sdk/client-s3', reason: 'one door to S3' },
  { from: 'config/a.ts', imports: '@aws-sdk/client-s3', reason: 'one door to S3' },
  { from: 'gateway/a.ts', imports: 'openid-client', reason: 'one door to the login' },
];

const ALLOWED: Crossing[] = [
  { from: 'operator/b.ts', imports: 'ledger/client.ts', reason: 'the client is the door of the ledger' },
  { from: 'gateway/b.ts', imports: 'ledger/client.ts', reason: 'the client is the door of the ledger' },
  { from: 'gateway/runner/b.ts', imports: 'gateway/ticket.ts', reason: 'the ticket is shared' },
  { from: 'operator/render/b.ts', imports: 'crds/store.ts', reason: 'the contract is for everybody' },
  { from: 'ledger/b.ts', imports: 'postgres', reason: 'the ledger is its door' },
  { from: 'config/artifacts/s3.ts', imports: '@aws-sdk/client-s3', reason: 'it is the door to S3' },
  { from: 'hack/b.ts', imports: 'operator/main.ts', reason: 'hack may see everything' },
];

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gsv-boundaries-'));
  await copyFile(join(ROOT, 'biome.json'), join(folder, 'biome.json'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function restrictedImports(crossing: Crossing): Promise<number> {
  const target = crossing.imports.endsWith('.ts') ? relativeImport(crossing) : crossing.imports;
  return violations('style/noRestrictedImports', {
    [crossing.from]: `import * as imported from '${target}';\n\nexport { imported };\n`,
  });
}

/** How often the rule speaks about these files. */
async function violations(rule: string, files: Record<string, string>): Promise<number> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  const report = await new Promise<string>((resolve, reject) => {
    execFile(
      join(ROOT, 'node_modules/.bin/biome'),
      ['lint', '--vcs-enabled=false', `--only=${rule}`, '--reporter=json', ...Object.keys(files)],
      { cwd: folder },
      (error, stdout, stderr) => (stdout ? resolve(stdout) : reject(error ?? new Error(stderr))),
    );
  });
  for (const name of Object.keys(files)) await rm(join(folder, name));
  const { diagnostics } = JSON.parse(report) as { diagnostics: { category: string }[] };
  return diagnostics.filter((entry) => entry.category === `lint/${rule}`).length;
}

function relativeImport({ from, imports }: Crossing): string {
  const path = relative(dirname(from), imports);
  return path.startsWith('.') ? path : `./${path}`;
}

for (const crossing of FORBIDDEN) {
  test(`${crossing.from} must not import ${crossing.imports}: ${crossing.reason}`, async () => {
    assert.is(await restrictedImports(crossing), 1);
  });
}

for (const crossing of ALLOWED) {
  test(`${crossing.from} may import ${crossing.imports}: ${crossing.reason}`, async () => {
    assert.is(await restrictedImports(crossing), 0);
  });
}

const OTHER_RULES: [rule: string, files: Record<string, string>][] = [
  ['suspicious/noConsole', { 'ledger/c.ts': "console.log('x');\n" }],
  ['suspicious/noExplicitAny', { 'ledger/c.ts': 'export const x: any = 1;\n' }],
  ['style/noNonNullAssertion', { 'ledger/c.ts': 'export const f = (x?: string) => x!.length;\n' }],
  ['nursery/noFloatingPromises', { 'ledger/c.ts': 'async function f(): Promise<void> {}\nf();\n' }],
  [
    'suspicious/noImportCycles',
    {
      'ledger/c.ts': "import { b } from './d.ts';\n\nexport const a = () => b;\n",
      'ledger/d.ts': "import { a } from './c.ts';\n\nexport const b = () => a;\n",
    },
  ],
];

for (const [rule, files] of OTHER_RULES) {
  test(`${rule} catches a violation`, async () => {
    assert.ok((await violations(rule, files)) > 0);
  });
}
