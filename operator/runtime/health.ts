/** What still has to happen before the process may call itself ready. */
export class Readiness {
  readonly #open = new Set<string>();

  /** `sentence` is shown until `done` resolves; a rejection leaves it standing, for a start that failed is not ready. */
  until(sentence: string, done: Promise<unknown>): void {
    this.#open.add(sentence);
    done.then(
      () => this.#open.delete(sentence),
      () => {},
    );
  }

  /** Empty = ready. The shape that the ops server asks for. */
  async reasons(): Promise<readonly string[]> {
    return [...this.#open];
  }
}
