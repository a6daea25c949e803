import type { BlobStore } from '../../config/artifacts.ts';
import type { PricedLine, Usage } from '../../crds/contract.ts';

/** interfaces.md: a result can be read back for 24 h. */
export const RESULT_KEPT_MS = 24 * 60 * 60 * 1000;

/** A run that ended, as it lies in the blob store. */
export type StoredRun = StoredSuccess | StoredFailure;

interface Stored {
  schema: 'gsv.run/v1';
  runId: string;
  instanceUid: string;
  finishedAt: string;
  expiresAt: string;
}

/** Written before the capture: whoever finds it can finish the settlement, with the same key and the same lines. */
export interface StoredSuccess extends Stored {
  state: 'succeeded';
  hold: string;
  output: { text: string };
  usage: Usage[];
  lines: PricedLine[];
}

export interface StoredFailure extends Stored {
  state: 'failed';
  problem: { status: number; code: string; detail: string };
}

type Outcome = Omit<StoredSuccess, keyof Stored> | Omit<StoredFailure, keyof Stored>;

/** Results of runs in the blob store, under `results/<instance uid>/<run id>.json`. */
export class Results {
  readonly #blobs: BlobStore;
  readonly #now: () => number;

  constructor(blobs: BlobStore, now: () => number) {
    this.#blobs = blobs;
    this.#now = now;
  }

  /** Also the `resultRef` of the capture. */
  static key(instanceUid: string, runId: string): string {
    return `results/${instanceUid}/${runId}.json`;
  }

  async put(instanceUid: string, runId: string, outcome: Outcome): Promise<string> {
    const key = Results.key(instanceUid, runId);
    const finished = this.#now();
    const document = {
      schema: 'gsv.run/v1',
      runId,
      instanceUid,
      finishedAt: new Date(finished).toISOString(),
      expiresAt: new Date(finished + RESULT_KEPT_MS).toISOString(),
      ...outcome,
    };
    await this.#blobs.put(key, new TextEncoder().encode(JSON.stringify(document)));
    return key;
  }

  /** Undefined when there is none, or it has expired (then it is deleted). */
  async get(instanceUid: string, runId: string): Promise<StoredRun | undefined> {
    const key = Results.key(instanceUid, runId);
    const bytes = await this.#blobs.get(key);
    if (bytes === undefined) return undefined;
    const stored = JSON.parse(new TextDecoder().decode(bytes)) as StoredRun;
    if (Date.parse(stored.expiresAt) > this.#now()) return stored;
    await this.#blobs.delete(key);
    return undefined;
  }
}
