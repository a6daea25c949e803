import { readFileSync, statSync } from 'node:fs';

/**
 * A secret from `X` or `X_FILE`. A file is read again when it changes, so that rotated tokens take
 * effect without a restart. Printing one never shows the value.
 */
export class Secret {
  readonly #read: () => string;
  constructor(read: () => string) {
    this.#read = read;
  }
  static of(value: string): Secret {
    return new Secret(() => value);
  }
  static fromFile(path: string): Secret {
    let modified = -1;
    let value = '';
    return new Secret(() => {
      const now = statSync(path).mtimeMs;
      if (now !== modified) {
        value = readFileSync(path, 'utf8').trimEnd();
        modified = now;
      }
      return value;
    });
  }
  /** The present value. Throws when the file has gone. */
  reveal(): string {
    return this.#read();
  }
  toString(): string {
    return '[secret]';
  }
  toJSON(): string {
    return '[secret]';
  }
}
