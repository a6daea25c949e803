import { ArtifactError, type BlobStore, getArtifact } from '../../config/artifacts.ts';
import { type Flow, parseFlow } from './flow.ts';
import { runnerProblem } from './problems.ts';
import type { RuntimeClient } from './runtime.ts';

/** Flows remembered as loaded; beyond it the oldest is simply uploaded again (409 costs nothing). */
const FLOWS_KEPT = 1_000;

/** Brings artifacts to the runtime: each once per runtime, however many runs ask at the same time. */
export class FlowLoader {
  readonly #blobs: BlobStore;
  readonly #runtime: RuntimeClient;
  readonly #loaded = new Map<string, Promise<Flow>>();

  constructor(blobs: BlobStore, runtime: RuntimeClient) {
    this.#blobs = blobs;
    this.#runtime = runtime;
  }

  /** @throws Problem `artifact_missing`, `artifact_corrupt`; RuntimeError */
  load(sha256: string): Promise<Flow> {
    const known = this.#loaded.get(sha256);
    if (known) return known;
    const loading = this.#load(sha256);
    this.#loaded.set(sha256, loading);
    const oldest = this.#loaded.keys().next();
    if (this.#loaded.size > FLOWS_KEPT && !oldest.done) this.#loaded.delete(oldest.value);
    // A failure is not remembered: the next run tries again.
    loading.catch(() => {
      if (this.#loaded.get(sha256) === loading) this.#loaded.delete(sha256);
    });
    return loading;
  }

  /** The runtime has lost the flow (it restarted): the next `load` uploads it again. */
  forget(sha256: string): void {
    this.#loaded.delete(sha256);
  }

  async #load(sha256: string): Promise<Flow> {
    const flow = parseFlow(await this.#artifact(sha256), sha256);
    await this.#runtime.upload(flow);
    return flow;
  }

  async #artifact(sha256: string): Promise<Uint8Array> {
    try {
      return await getArtifact(this.#blobs, sha256);
    } catch (error) {
      if (error instanceof ArtifactError) throw runnerProblem(error.code, error.message, { cause: error });
      throw error;
    }
  }
}
