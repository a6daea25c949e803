import type { BlobStore } from '../../config/artifacts.ts';
import { Problem } from '../../config/problem.ts';
import type { SecretsBroker } from '../../config/secrets.ts';
import { RUNTIME_KEY, runtimeUrl } from '../../crds/runtime.ts';
import type { Binding, Bindings } from './binding.ts';
import { readSecrets } from './globals.ts';
import { FlowLoader } from './loader.ts';
import { runnerProblem } from './problems.ts';
import { RuntimeClient, type RuntimeOptions } from './runtime.ts';

/** Own runtimes remembered; each is a connection pool without connections while nobody runs. */
const RUNTIMES_KEPT = 1_000;
/** A rotated key is used after this long at the latest; the operator's probe makes it known at once. Milliseconds. */
const KEY_MS = 30_000;

/** Where an Instance's flow runs, and which flows are known to be there. */
export interface Runtime {
  client: RuntimeClient;
  flows: FlowLoader;
}

interface OwnRuntime extends Runtime {
  key: string;
  /** On the monotonic clock. */
  readAt: number;
}

export interface RuntimesOptions {
  shared: RuntimeOptions;
  bindings: Bindings;
  blobs: BlobStore;
  secrets: SecretsBroker;
  /** Address of an Instance's own runtime. Absent: {@link runtimeUrl}. */
  locate?: ((instance: string, workloadNamespace: string) => string) | undefined;
}

/** Finds the runtime of an Instance: the platform's, or its own under profile Namespace. */
export class Runtimes {
  readonly #options: RuntimesOptions;
  readonly #shared: Runtime;
  readonly #own = new Map<string, OwnRuntime>();

  constructor(options: RuntimesOptions) {
    this.#options = options;
    this.#shared = this.#connect(options.shared);
  }

  /**
   * `fresh` reads the key of an own runtime again: a probe must try the credential that the next run will use.
   *
   * @throws Problem `instance_not_ready`, `secrets_unavailable`
   */
  async of(binding: Binding, { fresh = false } = {}): Promise<Runtime> {
    const { bindings, locate = runtimeUrl } = this.#options;
    if (!(await bindings.hasOwnRuntime(binding))) return this.#shared;
    const { uid, name } = binding.instance.metadata;
    const namespace = await bindings.workloadNamespace(binding);
    const known = this.#own.get(uid);
    if (known !== undefined && !fresh && performance.now() - known.readAt < KEY_MS) return known;
    const key = await this.#readKey(binding, namespace);
    const readAt = performance.now();
    // Somebody may have come first while the key was read.
    const present = this.#own.get(uid);
    if (present !== undefined) return Object.assign(present, { key, readAt });
    const made: OwnRuntime = {
      key,
      readAt,
      ...this.#connect({
        url: locate(name, namespace),
        key: () => made.key,
        workflowsPath: this.#options.shared.workflowsPath,
      }),
    };
    this.#own.set(uid, made);
    this.#forgetOldest();
    return made;
  }

  async close(): Promise<void> {
    await Promise.all([this.#shared, ...this.#own.values()].map(({ client }) => client.close()));
  }

  #connect(options: RuntimeOptions): Runtime {
    const client = new RuntimeClient(options);
    return { client, flows: new FlowLoader(this.#options.blobs, client) };
  }

  async #readKey(binding: Binding, namespace: string): Promise<string> {
    try {
      const found = await readSecrets(binding, [RUNTIME_KEY], this.#options.secrets, namespace);
      return found.get(RUNTIME_KEY)?.value ?? '';
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'secret_missing') throw error;
      throw runnerProblem('instance_not_ready', 'the runtime of the Instance has no key yet', { cause: error });
    }
  }

  /** Whoever still runs there ends in peace: the pool closes when it is idle. */
  #forgetOldest(): void {
    const [oldest] = this.#own;
    if (this.#own.size <= RUNTIMES_KEPT || oldest === undefined) return;
    this.#own.delete(oldest[0]);
    oldest[1].client.retire();
  }
}
