import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { dataFolder, onceQuickstart, postgresOf, recordedOrder, removeFolders } from '../testing/quickstart.ts';

const FLOW = join(import.meta.dirname, '../../config/flows/claims-triage.json');
const [, , , jwks = ''] = recordedOrder('12-order28-fully-paid');

/** What a start has left behind; each test damages a copy. */
let used: string;
before(async () => {
  used = dataFolder();
  await onceQuickstart(recordedOrder('15-order27-credit-pack-only'), used);
});
after(removeFolders);

interface Failure {
  reason: string;
  phase?: string;
  code: string;
  says: RegExp;
  args?: () => string[];
  /** Works on a copy of a used data folder. */
  damage?: (data: string) => void;
  env?: (data: string) => Record<string, string>;
}

const write = (name: string, content: string): string => {
  const path = join(dataFolder(), name);
  writeFileSync(path, content);
  return path;
};

function flowWithSecret(): string {
  const flow = JSON.parse(readFileSync(FLOW, 'utf8'));
  const node = flow.data.nodes.find(({ id }: { id: string }) => id === 'Model-triage');
  node.data.node.template.api_key = { password: true, value: 'hunter2hunter2' };
  return write('flow.json', JSON.stringify(flow));
}

const FAILURES: Failure[] = [
  { reason: 'an option that is none', args: () => ['--twice'], code: 'usage', says: /--twice/ },
  {
    reason: 'an order that is not there',
    args: () => ['--order', 'no/such', '--jwks', jwks],
    phase: 'order',
    code: 'order_unreadable',
    says: /no\/such\.(head|body) cannot be read; give --order the path without/,
  },
  {
    reason: 'a flow that is not there',
    args: () => ['--flow', 'no/flow.json'],
    code: 'flow_unreadable',
    says: /no\/flow\.json cannot be read/,
  },
  {
    reason: 'a runtime where nobody answers',
    args: () => ['--runtime-url', 'http://127.0.0.1:9', '--runtime-key', 'some-key'],
    code: 'runtime_unavailable',
    says: /nothing answers at http:\/\/127\.0\.0\.1:9; start the runtime/,
  },
  {
    reason: 'a flow that carries a secret',
    args: () => ['--flow', flowWithSecret()],
    code: 'secret_in_flow',
    says: /node Model-triage, field api_key: /,
  },
  {
    reason: 'a port that is none',
    env: () => ({ GSV_GATEWAY_PORT: '99999' }),
    code: 'settings_invalid',
    says: /GSV_GATEWAY_PORT must be a port number/,
  },
  {
    reason: 'a runtime without its key',
    env: () => ({ GSV_RUNTIME_URL: 'http://127.0.0.1:9' }),
    code: 'settings_invalid',
    says: /GSV_RUNTIME_URL and GSV_RUNTIME_KEY go together/,
  },
  {
    reason: 'git is missing',
    env: () => ({ PATH: dataFolder() }),
    code: 'git_missing',
    says: /git is not on the PATH; install it/,
  },
  {
    reason: 'a data folder that is a file',
    env: () => ({ GSV_DATA_DIR: write('file', '') }),
    code: 'data_folder',
    says: /cannot be made .*set GSV_DATA_DIR/,
  },
  {
    reason: 'a journal with a damaged line',
    damage: (data) => {
      const path = join(data, 'resources.jsonl');
      const bytes = readFileSync(path);
      bytes.fill(0, bytes.length >> 1, (bytes.length >> 1) + 1);
      writeFileSync(path, bytes);
    },
    code: 'start_failed',
    says: /resources\.jsonl is damaged in line \d+: restore it from a copy, or/,
  },
  {
    reason: 'no journal, but a book',
    damage: (data) => rmSync(join(data, 'resources.jsonl')),
    code: 'data_folder',
    says: /the database of its credits is still in .*postgres; restore resources\.jsonl, or move/,
  },
  {
    reason: 'a database that is no longer one',
    damage: (data) => rmSync(join(data, 'postgres/data/PG_VERSION')),
    code: 'start_failed',
    says: /is damaged; restore it from a backup, or move it away/,
  },
  {
    reason: 'a database without its control file',
    damage: (data) => rmSync(join(data, 'postgres/data/global/pg_control')),
    code: 'start_failed',
    says: /PostgreSQL could not start on .*restore it from a backup or move it away/,
  },
  {
    reason: 'a repository that is none',
    damage: (data) => writeFileSync(join(data, 'git/tenants.git/HEAD'), 'x\n'),
    code: 'start_failed',
    says: /tenants\.git is not a bare Git repository: move it away/,
  },
  {
    reason: 'damaged keys of the issuer',
    damage: (data) => {
      const [file = ''] = execFileSync('find', [join(data, 'issuer'), '-type', 'f'], { encoding: 'utf8' }).split('\n');
      writeFileSync(file, '{');
    },
    code: 'start_failed',
    says: /issuer's keys in .* are damaged; remove that file/,
  },
  {
    reason: 'damaged secrets',
    damage: (data) => {
      mkdirSync(join(data, 'secrets'), { recursive: true });
      writeFileSync(join(data, 'secrets/secrets.json'), '{');
    },
    code: 'start_failed',
    says: /secrets\.json is damaged; restore it, or delete it/,
  },
];

for (const { reason, phase = 'start', code, says, args, damage, env } of FAILURES) {
  test(`a start that cannot be says in a sentence what to do: ${reason}`, async () => {
    const data = dataFolder();
    if (damage) {
      execFileSync('cp', ['-a', `${used}/.`, data]);
      damage(data);
    }
    const { code: exit, last, stderr } = await onceQuickstart(args?.() ?? [], data, env?.(data));
    assert.equal([exit, last.ok, last.failedPhase, last.error.code, last.phases], [1, false, phase, code, []]);
    assert.match(last.error.message, says);
    assert.not.match(last.error.message, /hunter2/);
    assert.not.match(stderr, /\n {4}at |hunter2/);
    assert.is(postgresOf(data), undefined);
  });
}

test('a line of the journal that a crash cut off costs nothing', async () => {
  const data = dataFolder();
  execFileSync('cp', ['-a', `${used}/.`, data]);
  const path = join(data, 'resources.jsonl');
  truncateSync(path, readFileSync(path).length - 7);
  const { code, last } = await onceQuickstart(recordedOrder('15-order27-credit-pack-only'), data);
  assert.equal([code, last.ok], [0, true]);
});

test('a sample order that was cut off is written anew', async () => {
  const data = dataFolder();
  execFileSync('cp', ['-a', `${used}/.`, data]);
  writeFileSync(join(data, 'sample-order.json'), '{"__typename": "Ord');
  const { code, last } = await onceQuickstart([], data);
  assert.equal([code, last.ok], [0, true]);
});
