/** Golden trees: expected output in `testdata/<case>/out`, reviewed like code, rewritten with `UPDATE_GOLDEN=1`. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import * as assert from 'uvu/assert';

/** Names of the cases below a `testdata` folder. An empty folder is a broken checkout, not a pass. */
export function goldenCases(testdata: string): string[] {
  const cases = readdirSync(testdata, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  if (cases.length === 0) throw new Error(`no golden case in ${testdata}`);
  return cases;
}

/** Compares a rendered tree with the files of `folder`, both ways, or writes them with `UPDATE_GOLDEN=1`. */
export function assertGoldenTree(folder: string, actual: ReadonlyMap<string, string>, update = wantsUpdate()): void {
  if (update) {
    rmSync(folder, { recursive: true, force: true });
    for (const [path, content] of actual) {
      const file = join(folder, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    return;
  }
  const expected = readTree(folder);
  assert.equal([...actual.keys()].sort(), [...expected.keys()].sort(), 'the same files');
  for (const [path, content] of expected) assert.is(actual.get(path), content, path);
}

/** Whether expected output is to be written anew and not compared. */
export function wantsUpdate(): boolean {
  return process.env.UPDATE_GOLDEN === '1';
}

function readTree(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(files.map((file) => [relative(folder, file).replaceAll('\\', '/'), readFileSync(file, 'utf8')]));
}
