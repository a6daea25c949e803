import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openBlobStore } from '../../config/artifacts.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { LedgerClient } from '../../ledger/client.ts';
import { ensureBareRemote } from '../../operator/git/remote.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { type Issuer, startIssuer } from '../issuer/issuer.ts';
import { loadCatalog } from '../quickstart/catalog.ts';
import { startSampleRuntime } from '../runtime/sample.ts';
import { type OurProcess, startProcess } from '../testing/process.ts';
import { prepareLogins, prepareVault } from '../vault/prepare.ts';
import { testVault } from '../vault/testing.ts';
import { accountOf, applyBase } from './accounts.ts';
import { type Shop, startShop } from './shop.ts';

const ROOT = join(import.meta.dirname, '../..');
const AUDIENCE = 'gsv-gateway';
export const BUYER = 'buyer@example.com';

/** The ledger scopes of each process: the table "Least privilege" of the architecture. */
const SCOPES = {
  operator: ['wallets', 'fulfilments', 'grants', 'settle', 'void', 'inbox:work', 'events', 'read'],
  edgeRun: ['holds', 'void', 'read'],
  edgeApi: ['inbox:write', 'read'],
  runner: ['capture', 'void', 'extend', 'debits', 'read'],
  test: ['read', 'audit', 'grants'],
};
type Part = keyof typeof SCOPES;

/** Every process of the store, each with its own account, on a real API server. */
export interface Installation {
  cluster: Cluster;
  /** As the cluster's administrator. */
  store: KubernetesStore;
  ledger: LedgerClient;
  shop: Shop;
  issuer: Issuer;
  /** Bare Git repository that the operator pushes to. */
  repository: string;
  folder: string;
  vault: { url: string; token: string };
  urls: { run: string; api: string; runner: string; ledger: string };
  processes: Record<'ledger' | 'runner' | 'edgeRun' | 'edgeApi', OurProcess>;
  /** Starts an operator; more than one is a test of leadership. */
  startOperator(env?: Record<string, string>): OurProcess;
  /** The sample catalog, as `kubectl apply` would bring it. Needs a running operator. */
  loadCatalog(): Promise<void>;
  /** Every byte that the processes have logged. */
  logs(): string;
  close(): Promise<void>;
}

/** Starts all but the operator. */
export async function startInstallation(cluster: Cluster): Promise<Installation> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    return await start(cluster, closers, close);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}

async function start(
  cluster: Cluster,
  closers: (() => Promise<unknown>)[],
  close: () => Promise<void>,
): Promise<Installation> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-installation-'));
  // PostgreSQL's unprivileged user must be able to pass when the tests run as root.
  await chmod(folder, 0o755);
  closers.push(() => rm(folder, { recursive: true, force: true }));
  await applyBase(cluster);
  const [operator, edgeRun, edgeApi, runner] = await Promise.all(
    ['gsv-operator', 'gsv-edge-run', 'gsv-edge-api', 'gsv-runner'].map((name) => accountOf(cluster, name, folder)),
  );
  if (!operator || !edgeRun || !edgeApi || !runner) throw new Error('an account is missing');
  const [vault, runtime, issuer, shop] = await Promise.all([
    openVault(cluster),
    startSampleRuntime({ key: randomBytes(32).toString('hex') }),
    startIssuer({ audience: AUDIENCE, clientId: 'gsv-store', accounts: [account('buyer'), account('stranger')] }),
    startShop(),
  ]);
  closers.push(
    () => vault.close(),
    () => runtime.close(),
    () => issuer.close(),
    () => shop.close(),
  );
  const repository = join(folder, 'delivery.git');
  await ensureBareRemote(repository);
  const tokens = await writeTokens(folder);
  const keys = { ticket: randomBytes(32).toString('hex'), probe: randomBytes(32).toString('hex') };
  const artifacts = pathToFileURL(join(folder, 'artifacts')).href;
  const logs: OurProcess[] = [];
  const launch = (entry: string, env: Record<string, string>): OurProcess => {
    const running = startProcess(join(ROOT, entry), env);
    logs.push(running);
    closers.push(async () => {
      running.child.kill('SIGTERM');
      await running.ended;
    });
    return running;
  };

  const ledger = launch('ledger/main.ts', {
    GSV_DATA_DIR: join(folder, 'ledger'),
    GSV_LEDGER_PORT: '0',
    GSV_LEDGER_TOKENS_FILE: join(folder, 'tokens.json'),
  });
  const ledgerUrl = String(/http\S+/.exec(String((await ledger.says(/^ledger listens at/)).msg))?.[0]);
  const shared = { GSV_LEDGER_URL: ledgerUrl };
  const vaultEnv = { GSV_VAULT_ADDR: vault.url, GSV_ARTIFACTS_URL: artifacts };
  const runnerProcess = launch('gateway/runner/main.ts', {
    ...shared,
    ...vaultEnv,
    KUBECONFIG: runner.kubeconfig,
    GSV_VAULT_JWT_FILE: runner.vaultToken,
    GSV_LEDGER_TOKEN: tokens.runner,
    GSV_TICKET_KEY: keys.ticket,
    GSV_RUNNER_PROBE_KEY: keys.probe,
    GSV_RUNNER_PORT: '0',
    GSV_RUNTIME_URL: runtime.url,
    GSV_RUNTIME_KEY: runtime.key,
  });
  const runnerUrl = String((await runnerProcess.says('runner listens')).url);
  const edge = (role: 'run' | 'api', token: string, kubeconfig: string): OurProcess =>
    launch('gateway/main.ts', {
      ...shared,
      KUBECONFIG: kubeconfig,
      GSV_LEDGER_TOKEN: token,
      GSV_TICKET_KEY: keys.ticket,
      GSV_GATEWAY_ROLE: role,
      GSV_GATEWAY_PORT: '0',
      GSV_RUNNER_URL: runnerUrl,
      GSV_OIDC_ISSUER: issuer.url,
      GSV_OIDC_AUDIENCE: AUDIENCE,
      GSV_SALEOR_SHOPS: shop.url,
    });
  const edgeRunProcess = edge('run', tokens.edgeRun, edgeRun.kubeconfig);
  const edgeApiProcess = edge('api', tokens.edgeApi, edgeApi.kubeconfig);
  const [runUrl, apiUrl] = await Promise.all(
    [edgeRunProcess, edgeApiProcess].map(async (each) => String((await each.says('gateway listens')).url)),
  );

  const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
  const client = new LedgerClient({ url: ledgerUrl, token: () => tokens.test });
  closers.push(
    () => client.close(),
    () => store.close(),
  );
  return {
    cluster,
    store,
    ledger: client,
    shop,
    issuer,
    repository,
    folder,
    vault: { url: vault.url, token: vault.rootToken },
    urls: { run: runUrl ?? '', api: apiUrl ?? '', runner: runnerUrl, ledger: ledgerUrl },
    processes: { ledger, runner: runnerProcess, edgeRun: edgeRunProcess, edgeApi: edgeApiProcess },
    startOperator: (env = {}) =>
      launch('operator/main.ts', {
        ...shared,
        ...vaultEnv,
        KUBECONFIG: operator.kubeconfig,
        GSV_VAULT_JWT_FILE: operator.vaultToken,
        GSV_LEDGER_TOKEN: tokens.operator,
        GSV_PUBLIC_URL: runUrl ?? '',
        GSV_RUNNER_URL: runnerUrl,
        GSV_RUNNER_PROBE_KEY: keys.probe,
        GSV_GIT_REMOTE: repository,
        GSV_DELIVERY: 'local',
        GSV_DATA_DIR: join(folder, `operator-${logs.length}`),
        ...env,
      }),
    loadCatalog: () => loadCatalog({ store, blobs: openBlobStore(artifacts), dataDir: folder }),
    logs: () => logs.map((each) => each.text()).join('\n'),
    close,
  };
}

function account(name: string) {
  const sub = `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').slice(0, 12).padEnd(12, '0')}`;
  return { sub, name, email: `${name}@example.com`, emailVerified: true };
}

/** A real Vault, which asks the API server about every login. */
async function openVault(cluster: Cluster) {
  const vault = await testVault({ cluster });
  const administrator = { url: vault.url, token: vault.rootToken, mount: vault.mount };
  await prepareVault(administrator);
  await prepareLogins(administrator, vault.accessor);
  return vault;
}

async function writeTokens(folder: string): Promise<Record<Part, string>> {
  const tokens = Object.fromEntries(
    Object.keys(SCOPES).map((part) => [part, randomBytes(24).toString('hex')]),
  ) as Record<Part, string>;
  const file = Object.fromEntries(Object.entries(SCOPES).map(([part, scopes]) => [tokens[part as Part], scopes]));
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'tokens.json'), JSON.stringify(file), { mode: 0o600 });
  return tokens;
}
